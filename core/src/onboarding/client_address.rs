//! Who counts as one client: an IPv4 address, or the /64 network that one customer gets of IPv6.

use std::net::IpAddr;

/// The client that an address belongs to. Text that is no address counts as one client of its own.
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
    fn one_customer_is_one_client() {
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
