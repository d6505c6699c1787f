//! Keys and certificates: how an authority is made, read back, and signs.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dynamo_planner::certificates::Life;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// Clocks of machines differ: what is valid from now on is shown to some whose now is earlier.
const BACKDATED_S: u64 = 300;

/// What should be a certificate, a key or a request, and is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// A certificate that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// PEM.
    pub certificate: String,
    /// When it was made, and when it ends.
    pub life: Life,
}

/// An authority that can sign.
#[derive(Clone, PartialEq, Eq)]
pub struct Ca {
    /// Its certificate.
    pub anchor: Anchor,
    /// PEM.
    pub key: String,
}

/// Without the key.
impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("anchor", &self.anchor).finish_non_exhaustive()
    }
}

/// What a certificate is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it speaks for.
    pub uri: Option<String>,
    /// For people who look at it.
    pub common_name: String,
    /// Host names and addresses.
    pub hosts: Vec<String>,
    /// From now on, for so long; never longer than the authority is good.
    pub seconds: u64,
}

impl Anchor {
    /// All certificates of a bundle that can be read, each once, in their order.
    pub fn all_of(pem: &str) -> Vec<Anchor> {
        let mut found: Vec<Anchor> = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()).flatten() {
            let Some(anchor) = Anchor::of(&der) else { continue };
            if !found.iter().any(|other| other.fingerprint == anchor.fingerprint) {
                found.push(anchor);
            }
        }
        found
    }

    fn of(der: &CertificateDer<'_>) -> Option<Anchor> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let second = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        let validity = parsed.validity();
        let life = Life { from_s: second(validity.not_before) + BACKDATED_S, until_s: second(validity.not_after) };
        let certificate = pem_of(der);
        Some(Anchor { fingerprint: fingerprint(der), certificate, life })
    }
}

impl Ca {
    /// A new one.
    ///
    /// # Errors
    /// No key can be made.
    pub fn make(common_name: &str, life: Life) -> Result<Ca, Unusable> {
        let key = KeyPair::generate().map_err(|error| Unusable(format!("no key can be made: {error}")))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, life.from_s, life.until_s);
        let certificate = params.self_signed(&key).map_err(|error| Unusable(error.to_string()))?;
        let anchor = Anchor { fingerprint: fingerprint(certificate.der()), certificate: certificate.pem(), life };
        Ok(Ca { anchor, key: key.serialize_pem() })
    }

    /// From what was kept.
    ///
    /// # Errors
    /// It is no certificate and key of one pair.
    pub fn read(certificate: &str, key: &str) -> Result<Ca, Unusable> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|_| Unusable("the authority's certificate is no PEM".to_owned()))?;
        let anchor =
            Anchor::of(&der).ok_or_else(|| Unusable("the authority's certificate can't be read".to_owned()))?;
        let pair = KeyPair::from_pem(key).map_err(|_| Unusable("the authority's key can't be read".to_owned()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|_| Unusable("the authority's certificate can't be read".to_owned()))?;
        if parsed.public_key().subject_public_key.data.as_ref() != pair.der_bytes() {
            return Err(Unusable("the authority's key is not that of its certificate".to_owned()));
        }
        Ok(Ca { anchor, key: key.to_owned() })
    }

    /// A certificate for somebody's key; PEM.
    ///
    /// # Errors
    /// A name can't stand in a certificate, or the authority has ended.
    pub fn sign(&self, key: &impl PublicKeyData, leaf: &Leaf, now_s: u64) -> Result<String, Unusable> {
        let words = |error: rcgen::Error| Unusable(error.to_string());
        if self.anchor.life.until_s <= now_s {
            return Err(Unusable(format!("authority {} has ended", self.anchor.fingerprint)));
        }
        let own = KeyPair::from_pem(&self.key).map_err(|_| Unusable("the authority's key can't be read".to_owned()))?;
        let issuer = Issuer::from_ca_cert_pem(&self.anchor.certificate, own).map_err(words)?;
        let mut params = CertificateParams::new(leaf.hosts.clone()).map_err(words)?;
        if let Some(uri) = &leaf.uri {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().map_err(words)?));
        }
        // Alone: rcgen's own default name would stand before it.
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, leaf.common_name.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let until_s = self.anchor.life.until_s.min(now_s + leaf.seconds);
        valid(&mut params, now_s, until_s);
        Ok(params.signed_by(key, &issuer).map_err(words)?.pem())
    }
}

/// SHA-256 of a certificate, in hex, as nodes tell it.
fn fingerprint(der: &CertificateDer<'_>) -> String {
    use aws_lc_rs::digest;
    digest::digest(&digest::SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn valid(params: &mut CertificateParams, from_s: u64, until_s: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from_s.saturating_sub(BACKDATED_S));
    params.not_after = epoch + Duration::from_secs(until_s);
}

fn pem_of(der: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pem: &str) -> Vec<String> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        names.value.general_names.iter().map(ToString::to_string).collect()
    }

    fn leaf(seconds: u64) -> Leaf {
        let hosts = vec!["shop".to_owned(), "127.0.0.1".to_owned()];
        Leaf { uri: Some("dynamo:/c/node/shop-a-0".to_owned()), common_name: "shop-a-0".to_owned(), hosts, seconds }
    }

    #[test]
    fn an_authority_is_read_back_as_it_was_made() {
        let made = Ca::make("dynamo shop", Life { from_s: 1_000_000, until_s: 2_000_000 }).unwrap();
        let read = Ca::read(&made.anchor.certificate, &made.key).unwrap();
        assert_eq!(read.anchor.life, Life { from_s: 1_000_000, until_s: 2_000_000 });
        assert_eq!(read.anchor.fingerprint, made.anchor.fingerprint);
        assert_eq!(read.anchor.fingerprint.len(), 64);
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_of_another_authority_is_told_and_not_used() {
        let (one, other) = (life(), life());
        let error = Ca::read(&one.anchor.certificate, &other.key).unwrap_err();
        assert!(error.to_string().contains("not that of its certificate"), "{error}");
        assert!(Ca::read("nonsense", &one.key).is_err() && Ca::read(&one.anchor.certificate, "nonsense").is_err());
    }

    fn life() -> Ca {
        Ca::make("dynamo shop", Life { from_s: 1_000_000, until_s: 2_000_000 }).unwrap()
    }

    #[test]
    fn a_certificate_says_what_it_was_told_to_and_ends_with_its_authority() {
        let (authority, key) = (life(), KeyPair::generate().unwrap());
        let signed = authority.sign(&key, &leaf(90), 1_500_000).unwrap();
        let found = names(&signed);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|name| name.contains("dynamo:/c/node/shop-a-0")), "{found:?}");
        let of = |pem: &str| Anchor::all_of(pem)[0].life;
        assert_eq!(of(&signed), Life { from_s: 1_500_000, until_s: 1_500_090 });
        let long = authority.sign(&key, &leaf(10_000_000), 1_500_000).unwrap();
        assert_eq!(of(&long).until_s, 2_000_000);
        assert!(authority.sign(&key, &leaf(90), 2_000_000).is_err(), "an authority that has ended signs nothing");
    }

    #[test]
    fn a_bundle_is_read_past_what_is_none_and_each_certificate_counts_once() {
        let (one, two) = (life().anchor, life().anchor);
        let bundle = format!(
            "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nwords\n{}{}",
            one.certificate, two.certificate, one.certificate
        );
        assert_eq!(Anchor::all_of(&bundle), [one, two]);
        assert!(Anchor::all_of("").is_empty());
    }
}
