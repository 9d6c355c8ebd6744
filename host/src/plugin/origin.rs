//! Where a plugin may send requests: origins, and which addresses are anybody's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ::http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    tls: bool,
    /// In lower case; an IPv6 address in its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// Of an absolute `http` or `https` URI that names nobody to log in as.
    #[must_use]
    pub fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return None,
            None if tls => 443,
            None => 80,
        };
        let host = authority.host().to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { tls, host, port })
    }

    /// The address, where the host is one and not a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// Whether the host is a name or address of this machine, as far as its spelling tells.
    #[must_use]
    pub fn is_this_machine(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

impl std::str::FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is not an origin such as https://api.example.com or http://10.1.2.3:8080, without a path");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let only_origin = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/") && !text.contains(['?', '#']);
        Self::of(&uri).filter(|_| only_origin).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether an address is one of the open internet: not of this machine, of a private or local network, of a range that is set apart, or
/// of many hosts at once. An IPv4 address that an IPv6 address carries inside counts as itself.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// After the registry of special-purpose addresses, RFC 6890 and its successors.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, _, _, _, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([p, q], [r, s]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(p, q, r, s))
    };
    match (a, b) {
        _ if address.to_ipv4_mapped().is_some() => v4(g, h),
        (0x64, 0xff9b) if address.segments().get(2..6).is_some_and(|middle| middle.iter().all(|part| *part == 0)) => v4(g, h),
        (0x2002, _) => v4(b, c),
        // Teredo and others of the protocols' own, and documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        _ => (0x2000..=0x3fff).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_and_nothing_else() {
        let origin = |text: &str| text.parse::<Origin>();
        assert_eq!(origin("https://API.example.com").expect("good").to_string(), "https://api.example.com");
        assert_eq!(origin("https://a.example:443/"), origin("https://a.example"));
        assert_eq!(origin("http://[::1]:8080").expect("good").address(), Some("::1".parse().expect("an address")));
        assert!(origin("http://localhost:1").expect("good").is_this_machine());
        for wrong in [
            "api.example.com",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example/path",
            "https://a.example?x",
            "https://",
            "*",
            "https://a.example:",
        ] {
            assert!(origin(wrong).is_err_and(|why| why.contains("is not an origin")), "{wrong}");
        }
    }

    #[test]
    fn only_addresses_of_the_open_internet_are_public() {
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "172.15.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        for kept in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!is_public(kept.parse().expect(kept)), "{kept}");
        }
    }
}
