//! Sizes as Kubernetes writes them: `20Gi`, `1.5Ti`, `500M`, `1e9`.

use std::fmt;

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityError {
    text: String,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no size of less than 8 EiB: write it like 20Gi", self.text)
    }
}

impl std::error::Error for QuantityError {}

/// What the units stand for: a base and the power of it.
const UNITS: [(&str, u128, u32); 13] = [
    ("Ki", 1024, 1),
    ("Mi", 1024, 2),
    ("Gi", 1024, 3),
    ("Ti", 1024, 4),
    ("Pi", 1024, 5),
    ("Ei", 1024, 6),
    ("k", 1000, 1),
    ("M", 1000, 2),
    ("G", 1000, 3),
    ("T", 1000, 4),
    ("P", 1000, 5),
    ("E", 1000, 6),
    ("", 1, 1),
];

/// More digits than a size of 8 EiB has, before and after the point together.
const DIGITS_MAX: usize = 30;

/// The bytes that a quantity stands for; parts of a byte count as one, as Kubernetes rounds them.
///
/// ```
/// use dynamo_crd::quantity::bytes;
///
/// assert_eq!(bytes("20Gi"), Ok(20 << 30));
/// assert_eq!(bytes("1.5k"), Ok(1500));
/// assert!(bytes("20 GB").is_err());
/// ```
///
/// # Errors
/// It is no quantity, negative, in thousandths, or 8 EiB and more.
pub fn bytes(text: &str) -> Result<u64, QuantityError> {
    parse(text).ok_or_else(|| QuantityError { text: text.to_owned() })
}

fn parse(text: &str) -> Option<u64> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let multiplier = match UNITS.iter().find(|(name, ..)| *name == unit) {
        Some((_, base, power)) => base.pow(*power),
        None => 10u128.checked_pow(exponent(unit)?)?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > DIGITS_MAX || fraction.contains('.') {
        return None;
    }
    let divisor = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = digits.parse::<u128>().ok()?.checked_mul(multiplier)?;
    let bytes = u64::try_from(scaled.div_ceil(divisor)).ok()?;
    (bytes < 1 << 63).then_some(bytes)
}

/// The exponent in `e9`, `E9` or `e+9`.
fn exponent(unit: &str) -> Option<u32> {
    let digits = unit.strip_prefix(['e', 'E'])?;
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    // `parse` would take one more sign.
    if digits.starts_with('+') { None } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("512Mi", 512 << 20),
            ("10Gi", 10 << 30),
            ("1.5Ti", 3 << 39),
            (".5Gi", 1 << 29),
            ("5.Gi", 5 << 30),
            ("500M", 500_000_000),
            ("1e9", 1_000_000_000),
            ("1E9", 1_000_000_000),
            ("2E+3", 2_000),
            ("1E", 1_000_000_000_000_000_000),
            ("0.1", 1),
            ("7Ei", 7 << 60),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_to_write() {
        for text in [
            "",
            ".",
            "Gi",
            "-1Gi",
            "+",
            "10 Gi",
            "10GB",
            "10gi",
            "1.2.3Gi",
            "8Ei",
            "16Ei",
            "1m",
            "1e99",
            "1e",
            "1e-3",
            "1e+",
            "1e++3",
            "99999999999999999999999999999999",
            "9999999999999Ei",
            "é",
            "1\u{664}",
        ] {
            let error = bytes(text).unwrap_err().to_string();
            assert!(error.contains("20Gi"), "{text}: {error}");
        }
    }
}
