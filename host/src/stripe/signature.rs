//! Whether a webhook's body is what Stripe sent, unchanged and just now.
//!
//! The header is `t=SECONDS,v1=HEX[,v1=HEX…][,v0=HEX]`. What is signed is the text of `t`, a dot, and the body as it came over the wire; the
//! key is the whole secret, its prefix `whsec_` included. Everything here works on raw bytes: a body that was parsed and written again is
//! another body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::secret::Secret;

/// How far the time of signing may be from now, either way, unless something else is said.
pub const TOLERANCE_S: u64 = 300;

/// Stripe's own headers have a few hundred bytes. With this bound, checking one costs little whatever it holds.
pub const HEADER_BYTES_MAX: usize = 4096;

/// The one scheme that counts; `v0` is made with a key that is no secret.
const SCHEME: &str = "v1";

/// Why a body is not taken for Stripe's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing to check against.
    #[error("no secret is configured, so nothing can be genuine; configure the endpoint's signing secret")]
    NoSecret,
    /// There is no header, or it is empty.
    #[error("there is no Stripe-Signature header")]
    NoHeader,
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("the signature header has {bytes} bytes, more than {HEADER_BYTES_MAX}")]
    HeaderTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not a list of `name=value`.
    #[error("the signature header is not a list of name=value")]
    HeaderMalformed,
    /// Not exactly one `t`, or not digits in it.
    #[error("the signature header must have exactly one t, in digits")]
    Timestamp,
    /// No `v1`.
    #[error("the signature header has no {SCHEME} signature")]
    NoSignature,
    /// None of the signatures is one of the secrets' over this body.
    #[error("no {SCHEME} signature fits: the secret is another endpoint's, or the body is not the one that was signed, byte for byte")]
    Mismatch,
    /// Signed too long ago. Perhaps it was kept and sent again.
    #[error("it was signed {age_s} s ago, and at most {tolerance_s} s are allowed")]
    TooOld {
        /// How long ago.
        age_s: u64,
        /// How long ago it may be.
        tolerance_s: u64,
    },
    /// Signed in the future. One of the clocks is wrong.
    #[error("it was signed {ahead_s} s in the future, and at most {tolerance_s} s are allowed; is this machine's clock right?")]
    InFuture {
        /// How far.
        ahead_s: u64,
        /// How far it may be.
        tolerance_s: u64,
    },
}

impl Refusal {
    /// A name for programs and counters.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::NoHeader => "no_header",
            Self::HeaderTooLong { .. } => "header_too_long",
            Self::HeaderMalformed => "header_malformed",
            Self::Timestamp => "timestamp",
            Self::NoSignature => "no_signature",
            Self::Mismatch => "mismatch",
            Self::TooOld { .. } => "too_old",
            Self::InFuture { .. } => "in_future",
        }
    }
}

/// A body that Stripe signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Genuine {
    /// When, in seconds since 1970.
    pub signed_at_s: u64,
}

/// Checks a body against every secret. Any signature may fit any secret, because while a secret is being replaced Stripe signs with both.
///
/// # Errors
/// Why it is refused. Time is looked at last, so that a word about the clock is only said of what Stripe did sign.
pub fn verify(secrets: &[Secret], header: &[u8], body: &[u8], now_s: i64, tolerance_s: u64) -> Result<Genuine, Refusal> {
    if secrets.is_empty() {
        return Err(Refusal::NoSecret);
    }
    let header = Header::parse(header)?;
    if !header.fits_any(secrets, body) {
        return Err(Refusal::Mismatch);
    }
    let signed_at_s = header.signed_at_s;
    let ahead_s = i128::from(signed_at_s) - i128::from(now_s);
    if ahead_s.unsigned_abs() <= u128::from(tolerance_s) {
        return Ok(Genuine { signed_at_s });
    }
    let distance_s = u64::try_from(ahead_s.unsigned_abs()).unwrap_or(u64::MAX);
    Err(if ahead_s < 0 {
        Refusal::TooOld { age_s: distance_s, tolerance_s }
    } else {
        Refusal::InFuture { ahead_s: distance_s, tolerance_s }
    })
}

/// The header that Stripe would send with this body: for tests, and for trying an endpoint out.
#[must_use]
pub fn sign(secret: &Secret, body: &[u8], signed_at_s: u64) -> String {
    let at = signed_at_s.to_string();
    format!("t={at},{SCHEME}={}", expected(secret, &at, body))
}

/// The parts of the header that count.
struct Header<'a> {
    /// As it stands there: this text is what was signed, not the number.
    signed_at: &'a str,
    signed_at_s: u64,
    signatures: Vec<&'a str>,
}

impl<'a> Header<'a> {
    fn parse(header: &'a [u8]) -> Result<Self, Refusal> {
        if header.is_empty() {
            return Err(Refusal::NoHeader);
        }
        if header.len() > HEADER_BYTES_MAX {
            return Err(Refusal::HeaderTooLong { bytes: header.len() });
        }
        let text = std::str::from_utf8(header).map_err(|_| Refusal::HeaderMalformed)?;
        let (mut times, mut signatures) = (Vec::new(), Vec::new());
        // Nothing is trimmed: Stripe writes no blanks, and every leniency is one more text that counts as signed.
        for item in text.split(',') {
            match item.split_once('=').ok_or(Refusal::HeaderMalformed)? {
                ("t", value) => times.push(value),
                (SCHEME, value) => signatures.push(value),
                _ => {}
            }
        }
        let [signed_at] = *times.as_slice() else { return Err(Refusal::Timestamp) };
        // Parsing alone would take a plus sign too.
        let digits = signed_at.bytes().all(|byte| byte.is_ascii_digit());
        let signed_at_s = signed_at.parse().ok().filter(|_| digits).ok_or(Refusal::Timestamp)?;
        if signatures.is_empty() {
            return Err(Refusal::NoSignature);
        }
        Ok(Self { signed_at, signed_at_s, signatures })
    }

    /// Compares everything with everything, in time that does not depend on which one fits or how far.
    fn fits_any(&self, secrets: &[Secret], body: &[u8]) -> bool {
        let mut fits = Choice::from(0);
        for secret in secrets {
            let expected = expected(secret, self.signed_at, body);
            for signature in &self.signatures {
                fits |= expected.as_bytes().ct_eq(signature.as_bytes());
            }
        }
        fits.into()
    }
}

/// The signature, in lower-case hexadecimal.
fn expected(secret: &Secret, signed_at: &str, body: &[u8]) -> String {
    let mut mac = keyed(secret);
    mac.update(signed_at.as_bytes());
    mac.update(b".");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn keyed(secret: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.expose().as_bytes()).expect("any length will do")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1","object":"event"}"#;
    const NOW_S: u64 = 1_700_000_000;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    /// At `NOW_S`, with the usual tolerance.
    fn check(secrets: &[&str], header: &str, body: &[u8]) -> Result<Genuine, Refusal> {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        verify(&secrets, header.as_bytes(), body, NOW_S.cast_signed(), TOLERANCE_S)
    }

    fn signed(key: &str, at_s: u64) -> String {
        sign(&secret(key), BODY, at_s)
    }

    fn v1(key: &str) -> String {
        signed(key, NOW_S).split_once(',').unwrap().1.to_owned()
    }

    #[test]
    fn the_signature_is_hmac_sha256_over_time_dot_body_with_the_whole_secret() {
        // Computed with `openssl dgst -sha256 -hmac`.
        let known = "t=1700000000,v1=0c8670ed117751cc551a20e35839447075c42800ea3cf3e8a2fbda99cd1e6edd";
        assert_eq!(signed("whsec_test_secret", NOW_S), known);
        assert_eq!(check(&["whsec_test_secret"], known, BODY), Ok(Genuine { signed_at_s: NOW_S }));
        assert_eq!(check(&["test_secret"], known, BODY), Err(Refusal::Mismatch), "the prefix belongs to the key");
    }

    #[test]
    fn any_signature_may_fit_any_secret() {
        let good = signed("a", NOW_S);
        for header in [
            good.clone(),
            format!("{good},v1=bad"),
            format!("t={NOW_S},v1=bad,v1=,{},v0=00", v1("a")),
            format!("{},t={NOW_S}", v1("a")),
            format!("{good},{}", v1("b")),
            format!("{good},future=1=2"),
        ] {
            for secrets in [&["a"][..], &["old", "a"], &["a", "old"]] {
                assert!(check(secrets, &header, BODY).is_ok(), "{header} {secrets:?}");
            }
        }
    }

    #[test]
    fn every_refusal_says_why() {
        let good = signed("a", NOW_S);
        let mac = v1("a");
        let long = format!("{good},{}", "x=1,".repeat(2000));
        for (header, refusal) in [
            ("", Refusal::NoHeader),
            ("rubbish", Refusal::HeaderMalformed),
            ("v1,t=1", Refusal::HeaderMalformed),
            (&format!("{good},"), Refusal::HeaderMalformed),
            (&mac, Refusal::Timestamp),
            (&format!("t=,{mac}"), Refusal::Timestamp),
            (&format!("t=+{NOW_S},{mac}"), Refusal::Timestamp),
            (&format!("t=-1,{mac}"), Refusal::Timestamp),
            (&format!("t=1e9,{mac}"), Refusal::Timestamp),
            (&format!("t=99999999999999999999,{mac}"), Refusal::Timestamp),
            (&format!("{good},t={NOW_S}"), Refusal::Timestamp),
            (&format!("t={NOW_S}"), Refusal::NoSignature),
            (&good.replace("v1=", "v0="), Refusal::NoSignature),
            (&good.replace(",v1", ", v1"), Refusal::NoSignature),
            (&good.replace("t=", " t="), Refusal::Timestamp),
            (&good.to_uppercase().replace("T=", "t=").replace("V1=", "v1="), Refusal::Mismatch),
            (&format!("t=0{NOW_S},{mac}"), Refusal::Mismatch),
            (&signed("b", NOW_S), Refusal::Mismatch),
            (&long, Refusal::HeaderTooLong { bytes: long.len() }),
        ] {
            assert_eq!(check(&["a"], header, BODY), Err(refusal), "{header}");
        }
        assert_eq!(check(&["a"], &good, br#"{"id":"evt_1","object":"event"} "#), Err(Refusal::Mismatch), "one byte more");
        assert_eq!(check(&["a"], &good, b""), Err(Refusal::Mismatch));
        assert_eq!(check(&[], &good, BODY), Err(Refusal::NoSecret));
        assert_eq!(verify(&[secret("a")], b"t=1,v1=\xff", BODY, 0, 0), Err(Refusal::HeaderMalformed));
    }

    #[test]
    fn time_is_bounded_both_ways() {
        let at = |at_s: u64| check(&["a"], &signed("a", at_s), BODY);
        assert!(at(NOW_S - 300).is_ok() && at(NOW_S + 300).is_ok());
        assert_eq!(at(NOW_S - 301), Err(Refusal::TooOld { age_s: 301, tolerance_s: 300 }));
        assert_eq!(at(NOW_S + 301), Err(Refusal::InFuture { ahead_s: 301, tolerance_s: 300 }));
        assert!(matches!(at(u64::MAX), Err(Refusal::InFuture { .. })));
        assert!(matches!(at(0), Err(Refusal::TooOld { .. })));
        let strict = |now_s: i64| verify(&[secret("a")], signed("a", NOW_S).as_bytes(), BODY, now_s, 0);
        assert!(strict(NOW_S.cast_signed()).is_ok());
        assert!(strict(NOW_S.cast_signed() + 1).is_err() && strict(i64::MIN).is_err());
    }

    #[test]
    fn bodies_are_bytes() {
        for body in [&b"\xff\xfe\x00"[..], b"", b"\xef\xbb\xbf{}", "{\"name\":\"Zo\u{eb}\"}".as_bytes()] {
            assert!(check(&["a"], &sign(&secret("a"), body, NOW_S), body).is_ok());
        }
    }

    proptest! {
        #[test]
        fn whatever_the_header_holds_only_the_right_signature_passes(
            before in "[ -~]{0,40}", after in "[ -~]{0,40}", body in proptest::collection::vec(any::<u8>(), 0..64), at_s in 0_u64..600,
        ) {
            let secrets = [secret("a")];
            for header in [before.clone(), format!("{before},{after}"), format!("t={at_s},v1={before},{after}"), sign(&secret("b"), &body, at_s)] {
                prop_assert!(verify(&secrets, header.as_bytes(), &body, 300, TOLERANCE_S).is_err());
            }
            let good = sign(&secrets[0], &body, at_s);
            prop_assert_eq!(verify(&secrets, good.as_bytes(), &body, 300, TOLERANCE_S), Ok(Genuine { signed_at_s: at_s }));
            prop_assert_eq!(verify(&secrets, format!("v1={},{good}", before.replace(',', "")).as_bytes(), &body, 300, TOLERANCE_S).is_ok(), true);
        }

        #[test]
        fn any_bytes_are_answered(header in proptest::collection::vec(any::<u8>(), 0..200), now_s in any::<i64>(), tolerance_s in any::<u64>()) {
            prop_assert!(verify(&[secret("a")], &header, b"", now_s, tolerance_s).is_err());
        }
    }
}
