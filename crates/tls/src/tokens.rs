//! Bearer tokens: a file of them, one a line, so that a new one can be taken before an old one is dropped.
//!
//! Only their digests are kept, and a token is held against all of them in a time that does not depend on where it differs.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};

/// A shorter one can be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;

/// The digest of a token.
#[derive(Clone, Copy)]
pub struct Token([u8; 32]);

impl Token {
    /// Of what somebody showed.
    pub fn of(shown: &[u8]) -> Self {
        Self(digest::digest(&digest::SHA256, shown).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// The tokens that are taken.
#[derive(Clone, Default)]
pub struct Tokens(Vec<Token>);

/// Why a file of tokens can't be used. No line is repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// There is none in it.
    #[error("holds no token: expected one a line, `#` begins a comment")]
    Empty,
    /// One of them can be guessed.
    #[error(
        "the token in line {line} has fewer than {} bytes, and could be guessed: make one with `openssl rand -base64 32`",
        TOKEN_BYTES_MIN
    )]
    Short {
        /// Which line, from 1.
        line: usize,
    },
    /// One of them can't be sent.
    #[error("the token in line {line} has spaces or other characters that no request can carry")]
    Unsendable {
        /// Which line, from 1.
        line: usize,
    },
}

impl Tokens {
    /// One a line; empty lines and those that begin with `#` are none.
    ///
    /// # Errors
    /// There is none, or a bad one.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let mut tokens = Vec::new();
        for (line, token) in (1..).zip(text.lines().map(str::trim)) {
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < TOKEN_BYTES_MIN {
                return Err(TokensError::Short { line });
            }
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(TokensError::Unsendable { line });
            }
            tokens.push(Token::of(token.as_bytes()));
        }
        if tokens.is_empty() { Err(TokensError::Empty) } else { Ok(Self(tokens)) }
    }

    /// Whether there is no news in the other.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, other)| one.0 == other.0)
    }

    /// Whether the token is one of them.
    pub fn have(&self, token: &Token) -> bool {
        // No early end: how long it takes tells nothing.
        self.0.iter().fold(false, |found, known| found | verify_slices_are_equal(&known.0, &token.0).is_ok())
    }
}

/// The token in an `authorization` header.
pub fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "one-token-of-many-bytes";
    const OTHER: &str = "another-token-of-many-bytes";

    #[test]
    fn each_line_is_a_token_and_nothing_else_is() {
        let tokens = Tokens::parse(&format!("# old\n{ONE}\r\n\n  {OTHER}  \n")).unwrap();
        for (shown, taken) in [(ONE, true), (OTHER, true), ("# old", false), ("", false), (&ONE[1..], false)] {
            assert_eq!(tokens.have(&Token::of(shown.as_bytes())), taken, "{shown}");
        }
        assert!(!Tokens::default().have(&Token::of(b"")));
    }

    #[test]
    fn a_file_without_good_tokens_is_refused_and_not_repeated() {
        assert_eq!(Tokens::parse("\n# none\n").err(), Some(TokensError::Empty));
        assert_eq!(Tokens::parse("hunter2").err(), Some(TokensError::Short { line: 1 }));
        let error = Tokens::parse(&format!("{ONE}\nwith spaces in between\n")).err().unwrap();
        assert_eq!(error, TokensError::Unsendable { line: 2 });
        assert!(!error.to_string().contains("between"));
    }

    #[test]
    fn the_scheme_is_taken_in_any_case_and_no_other() {
        for header in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert_eq!(bearer(header.as_bytes()), Some(&b"abc"[..]), "{header}");
        }
        for header in ["", "Bearer", "Basic abc", "abc", "Bearerabc"] {
            assert_eq!(bearer(header.as_bytes()), None, "{header}");
        }
    }
}
