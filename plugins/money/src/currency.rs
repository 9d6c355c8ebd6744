//! Currencies and how many decimals their minor unit stands for in Stripe's API.

use std::fmt;

/// Three lower-case letters, such as `usd`. Whether Stripe knows it is asked of [`Currency::decimals`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// What is no currency code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three letters, such as usd")]
pub struct CurrencyError;

/// Minor unit = major unit. The API takes these without any factor.
const NO_DECIMALS: [&[u8; 3]; 15] =
    [b"bif", b"clp", b"djf", b"gnf", b"jpy", b"kmf", b"krw", b"mga", b"pyg", b"rwf", b"vnd", b"vuv", b"xaf", b"xof", b"xpf"];

/// A thousand minor units to the major one; the API wants the last digit to be zero.
const THREE_DECIMALS: [&[u8; 3]; 5] = [b"bhd", b"jod", b"kwd", b"omr", b"tnd"];

/// A hundred to one. `isk` and `ugx` have lost their decimals in life and keep them in the API.
const TWO_DECIMALS: [&[u8; 3]; 121] = [
    b"aed", b"afn", b"all", b"amd", b"ang", b"aoa", b"ars", b"aud", b"awg", b"azn", b"bam", b"bbd", b"bdt", b"bgn", b"bmd", b"bnd", b"bob",
    b"brl", b"bsd", b"bwp", b"byn", b"bzd", b"cad", b"cdf", b"chf", b"cny", b"cop", b"crc", b"cve", b"czk", b"dkk", b"dop", b"dzd", b"egp",
    b"etb", b"eur", b"fjd", b"fkp", b"gbp", b"gel", b"ghs", b"gip", b"gmd", b"gtq", b"gyd", b"hkd", b"hnl", b"hrk", b"htg", b"huf", b"idr",
    b"ils", b"inr", b"isk", b"jmd", b"kes", b"kgs", b"khr", b"kyd", b"kzt", b"lak", b"lbp", b"lkr", b"lrd", b"lsl", b"mad", b"mdl", b"mkd",
    b"mmk", b"mnt", b"mop", b"mur", b"mvr", b"mwk", b"mxn", b"myr", b"mzn", b"nad", b"ngn", b"nio", b"nok", b"npr", b"nzd", b"pab", b"pen",
    b"pgk", b"php", b"pkr", b"pln", b"qar", b"ron", b"rsd", b"rub", b"sar", b"sbd", b"scr", b"sek", b"sgd", b"shp", b"sle", b"sos", b"srd",
    b"std", b"szl", b"thb", b"tjs", b"top", b"try", b"ttd", b"twd", b"tzs", b"uah", b"ugx", b"usd", b"uyu", b"uzs", b"wst", b"xcd", b"yer",
    b"zar", b"zmw",
];

impl Currency {
    /// Reads a code in either case.
    ///
    /// # Errors
    /// When it is not three letters.
    pub fn parse(text: &[u8]) -> Result<Self, CurrencyError> {
        let code: [u8; 3] = text.try_into().map_err(|_| CurrencyError)?;
        if !code.iter().all(u8::is_ascii_alphabetic) {
            return Err(CurrencyError);
        }
        Ok(Self(code.map(|letter| letter.to_ascii_lowercase())))
    }

    /// The code in lower case.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// How many decimals of the major unit one minor unit of the API is: 0, 2 or 3. None when the code is not one Stripe lists: guessing
    /// two would be wrong by a factor of a hundred for some.
    #[must_use]
    pub fn decimals(self) -> Option<u32> {
        let listed = |list: &[&[u8; 3]]| list.binary_search(&&self.0).is_ok();
        if listed(&TWO_DECIMALS) {
            Some(2)
        } else if listed(&NO_DECIMALS) {
            Some(0)
        } else if listed(&THREE_DECIMALS) {
            Some(3)
        } else {
            None
        }
    }

    /// The smallest amount in minor units that can be charged: others are its multiples.
    #[must_use]
    pub fn charge_step(self) -> i64 {
        match &self.0 {
            b"isk" | b"ugx" => 100,
            code if THREE_DECIMALS.contains(&code) => 10,
            _ => 1,
        }
    }

    /// The smallest amount in minor units that can be paid out.
    #[must_use]
    pub fn payout_step(self) -> i64 {
        match &self.0 {
            b"huf" | b"twd" => 100,
            _ => self.charge_step(),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl std::str::FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        Self::parse(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimals(code: &str) -> Option<u32> {
        code.parse::<Currency>().expect("three letters").decimals()
    }

    #[test]
    fn the_lists_are_sorted_and_share_nothing() {
        let mut all: Vec<_> = [NO_DECIMALS.to_vec(), THREE_DECIMALS.to_vec(), TWO_DECIMALS.to_vec()].concat();
        for list in [NO_DECIMALS.as_slice(), &THREE_DECIMALS, &TWO_DECIMALS] {
            assert!(list.is_sorted());
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn decimals_are_those_of_the_api() {
        assert_eq!([decimals("USD"), decimals("eur"), decimals("jpy"), decimals("kwd")], [Some(2), Some(2), Some(0), Some(3)]);
        assert_eq!([decimals("isk"), decimals("ugx"), decimals("huf"), decimals("twd")], [Some(2); 4]);
        assert_eq!(decimals("xyz"), None);
    }

    #[test]
    fn steps_are_those_of_charges_and_payouts() {
        let step = |code: &str| code.parse::<Currency>().map(|c| (c.charge_step(), c.payout_step())).expect("a code");
        assert_eq!([step("usd"), step("isk"), step("huf"), step("tnd")], [(1, 1), (100, 100), (1, 100), (10, 10)]);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in ["", "us", "usdc", "u$d", "€"] {
            assert_eq!(text.parse::<Currency>(), Err(CurrencyError), "{text}");
        }
    }
}
