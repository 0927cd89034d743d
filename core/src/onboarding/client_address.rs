//! The unit of the limits for addresses: an IPv4 address, or a /64 network of IPv6, which one customer gets.

use std::net::IpAddr;

/// The client of an address. A text that is no address counts as one client.
pub fn client(address: Option<&str>) -> String {
    let Some(address) = address.map(str::trim).filter(|text| !text.is_empty()) else {
        return "unknown".to_owned();
    };
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        Err(_) => address.chars().take(64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_client() {
        for (address, expected) in [
            (Some("203.0.113.7"), "203.0.113.7"),
            (Some(" 203.0.113.7 "), "203.0.113.7"),
            (Some("::ffff:203.0.113.7"), "203.0.113.7"),
            (Some("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64"),
            (Some("2001:db8:1:2::ffff"), "2001:db8:1:2::/64"),
            (Some("2001:DB8:0001:0002::"), "2001:db8:1:2::/64"),
            (Some("not an address"), "not an address"),
            (Some(""), "unknown"),
            (None, "unknown"),
        ] {
            assert_eq!(client(address), expected);
        }
    }
}
