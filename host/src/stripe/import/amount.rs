//! Amounts in reports, which are decimals in major units: `12.34` is 1234 in minor units of a currency with cents.

use std::str::FromStr;

use taskwarden_money::{Currency, Separator, parse_major};

/// How a report writes its decimals; whoever runs it chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecimalSeparator {
    /// `12.34`
    #[default]
    Point,
    /// `12,34`
    Comma,
}

impl FromStr for DecimalSeparator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "point" => Ok(Self::Point),
            "comma" => Ok(Self::Comma),
            other => Err(format!("{other:?} is neither point nor comma")),
        }
    }
}

/// Reads an amount in major units.
///
/// # Errors
/// When it is no plain decimal, says more than the currency's minor unit can, or the currency's decimals are not known: a guess could be
/// wrong by a factor of a hundred.
pub(super) fn minor_units(text: &str, currency: Currency, separator: DecimalSeparator) -> Result<i64, String> {
    let decimals = currency.decimals().ok_or_else(|| format!("how many decimals {currency} has is not known"))?;
    let (declared, other) = match separator {
        DecimalSeparator::Point => (Separator::Point, ','),
        DecimalSeparator::Comma => (Separator::Comma, '.'),
    };
    parse_major(text.as_bytes(), decimals, declared).map_err(|error| {
        let hint = if text.contains(other) { "; is the decimal separator another one?" } else { "" };
        format!("{:?} {error}{hint}", super::cut(text, 40))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_the_currency() {
        let point = |text: &str, currency: &str| minor_units(text, currency.parse().expect("a code"), DecimalSeparator::Point);
        assert_eq!(point("12.34", "eur"), Ok(1234));
        assert_eq!(point("500", "jpy"), Ok(500));
        assert_eq!(point("5", "isk"), Ok(500), "the API counts it in hundredths");
        assert_eq!(point("1.230", "kwd"), Ok(1230));
        assert!(point("12,34", "eur").is_err_and(|why| why.contains("another one")));
        assert!(point("1", "xxx").is_err_and(|why| why.contains("not known")));
    }
}
