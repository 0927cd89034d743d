//! The parts of a request's URL.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The path, without query and fragment.
pub fn path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|slash| after_scheme.get(slash..)).unwrap_or("/");
    path.split(['?', '#']).next().unwrap_or("/")
}

/// The scheme, host and port.
pub fn origin(url: &str) -> &str {
    let path_and_rest =
        url.find("://").and_then(|colon| url.get(colon + 3..)).and_then(|rest| rest.find('/'));
    let scheme = url.find("://").map_or(0, |colon| colon + 3);
    path_and_rest.and_then(|slash| url.get(..scheme + slash)).unwrap_or(url)
}

/// The host and port.
pub fn host(url: &str) -> &str {
    let origin = origin(url);
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// The parameters of a name in the query, decoded.
pub fn query<'u>(url: &'u str, name: &str) -> impl Iterator<Item = Cow<'u, str>> {
    parameters(url).filter(move |(known, _)| known == name).map(|(_, value)| value)
}

/// The parameters of some names as a query of another URL, with its `?` and encoded anew; empty if there are none.
pub fn query_of(url: &str, names: &[&str]) -> String {
    let kept = parameters(url).filter(|(name, _)| names.contains(&&**name));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

fn parameters(url: &str) -> form_urlencoded::Parse<'_> {
    let query = url.split('#').next().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes())
}

/// A part of a path, percent-decoded. Text that is not UTF-8 when decoded is returned as it is.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str =
        "https://gateway.test:8787/v1/models/a%2Fb?days=7&q=a%20b+c&days=8&flag&q%32=x&=y#days=9";

    #[test]
    fn splits_a_url() {
        assert_eq!(path(URL), "/v1/models/a%2Fb");
        assert_eq!(origin(URL), "https://gateway.test:8787");
        assert_eq!((host(URL), host("null")), ("gateway.test:8787", "null"));
        for url in ["https://gateway.test", "https://gateway.test?x=/y"] {
            assert_eq!(path(url).split('/').next(), Some(""), "{url}");
        }
    }

    #[test]
    fn copies_the_parameters_of_some_names_into_another_query() {
        assert_eq!(query_of(URL, &["days", "flag"]), "?days=7&days=8&flag=");
        let url = "http://a.test/x?include%5B%5D=a%26b=c&x=%0d%0a/../&include[]=d#include[]=e";
        assert_eq!(query_of(url, &["include[]"]), "?include%5B%5D=a%26b%3Dc&include%5B%5D=d");
        assert_eq!(query_of(url, &["none"]), "");
    }

    #[test]
    fn decodes_the_parameters_of_a_query() {
        let all = |name| query(URL, name).collect::<Vec<_>>();
        assert_eq!(all("days"), ["7", "8"]);
        assert_eq!(all("q"), ["a b c"]);
        assert_eq!(all("flag"), [""]);
        assert_eq!(all("q2"), ["x"]);
        assert!(all("other").is_empty());
        assert_eq!(query("https://gateway.test/?p=50%&q=%ff", "p").next().as_deref(), Some("50%"));
        assert_eq!(query("https://gateway.test/?p=50%&q=%ff", "q").next().as_deref(), Some("\u{fffd}"));
        assert_eq!(query("https://gateway.test/", "p").next(), None);
    }

    #[test]
    fn decodes_a_part_of_a_path() {
        for (text, decoded) in
            [("a%2Fb", "a/b"), ("%C3%A9", "é"), ("a+b", "a+b"), ("50%", "50%"), ("%ff", "%ff")]
        {
            assert_eq!(percent_decode(text), decoded);
        }
    }
}
