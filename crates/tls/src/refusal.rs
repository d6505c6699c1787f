//! Why a handshake failed, in words that say what to do. Everything else that can go wrong with a connection is left to
//! who made it.

use std::{error::Error, fmt};

use rustls::{AlertDescription, CertificateError, Error as Tls, InvalidMessage};

/// Whoever answered is trusted, but is somebody else.
#[derive(Debug)]
pub struct Stranger(pub String);

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Stranger {}

/// Why TLS was refused, if it was TLS that failed: by this side, or by the other, as far as that said.
pub fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let (mut next, mut last) = (Some(error), error);
    while let Some(error) = next {
        last = error;
        if let Some(stranger) = error.downcast_ref::<Stranger>() {
            return Some(stranger.0.clone());
        }
        if let Some(tls) = error.downcast_ref::<Tls>() {
            return words(tls);
        }
        // An `io::Error` hides what it was made of from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    // HTTP/2 keeps what ended its connection as words only.
    let words = last.to_string();
    let (_, alert) = words.split_once("received fatal alert: ")?;
    let alert = ALERTS.into_iter().find(|known| alert.starts_with(&format!("{known:?}")))?;
    alerted(alert)
}

/// What the other side says of our certificate. Whatever else it may say, it says later than that: then somebody may have done
/// what was asked, and it is no refusal.
const ALERTS: [AlertDescription; 8] = [
    AlertDescription::CertificateExpired,
    AlertDescription::UnknownCA,
    AlertDescription::DecryptError,
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateUnknown,
    AlertDescription::AccessDenied,
];

fn words(error: &Tls) -> Option<String> {
    Some(match error {
        Tls::InvalidCertificate(error) => certificate(error),
        Tls::AlertReceived(alert) => return alerted(*alert),
        Tls::NoCertificatesPresented => "the other side showed no certificate, and needs one here".to_owned(),
        Tls::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
            "the other side speaks no TLS".to_owned()
        }
        Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol => format!("the other side speaks another TLS: {error}"),
        _ => return None,
    })
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => {
            "the other side's certificate has expired, or this machine's clock is wrong: renew it".to_owned()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the other side's certificate is not valid yet, or this machine's clock is wrong".to_owned()
        }
        E::UnknownIssuer | E::BadSignature => {
            "the other side's certificate is of an authority that is not trusted here: check the bundle".to_owned()
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            format!("the other side's certificate is of another host: {error}")
        }
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            format!("the other side's certificate is not meant for this: {error}")
        }
        other => format!("the other side's certificate can't be accepted: {other}"),
    }
}

fn alerted(alert: AlertDescription) -> Option<String> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateExpired => "the other side says that our certificate has expired: renew it".to_owned(),
        A::UnknownCA | A::DecryptError => {
            "the other side does not trust the authority of our certificate: check its bundle".to_owned()
        }
        A::CertificateRequired => "the other side takes nobody without a certificate: give one".to_owned(),
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown | A::AccessDenied => {
            format!("the other side does not accept our certificate ({alert:?})")
        }
        A::ProtocolVersion => "the other side does not speak TLS 1.3".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_tls_says_is_found_however_deep_it_lies_and_nothing_else_is_taken_for_it() {
        let tls = || Tls::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls()));
        assert!(refusal(&wrapped).unwrap().contains("not trusted here"));
        let stranger = io::Error::other(Stranger("node-2 answers for node-1".to_owned()));
        assert_eq!(refusal(&stranger).as_deref(), Some("node-2 answers for node-1"));
        assert_eq!(refusal(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
        assert_eq!(refusal(&io::Error::other(Tls::DecryptError)), None, "that may come after something was done");
    }

    #[test]
    fn an_alert_is_understood_from_its_words_alone_if_it_is_about_the_certificate() {
        for alert in ALERTS {
            let words = Tls::AlertReceived(alert).to_string();
            assert_eq!(refusal(&io::Error::other(words.clone())), alerted(alert), "{words}");
            assert_eq!(refusal(&io::Error::other(Tls::AlertReceived(alert))), alerted(alert));
        }
        for other in [AlertDescription::BadRecordMac, AlertDescription::InternalError] {
            assert_eq!(refusal(&io::Error::other(Tls::AlertReceived(other).to_string())), None);
            assert_eq!(refusal(&io::Error::other(Tls::AlertReceived(other))), None);
        }
    }
}
