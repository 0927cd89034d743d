//! JSON that is written once and looked at by nobody here: log lines and receipts. Straight into a text, without the tree of
//! [`serde_json::Value`], which costs five times as much: of a call's receipt and log line, 20 µs.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::Value;

/// [`json!`](crate::json!) as a [`Text`]: the same syntax, for what needs no value.
#[macro_export]
macro_rules! json_text {
    (@members $text:ident) => {};
    (@members $text:ident $name:literal: {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $text.member($name, &$crate::json_text!({$($inner)*}));
        $($crate::json_text!(@members $text $($rest)*);)?
    };
    (@members $text:ident $name:literal: $value:expr $(, $($rest:tt)*)?) => {
        $text.member($name, &$value);
        $($crate::json_text!(@members $text $($rest)*);)?
    };
    ({$($members:tt)*}) => {{
        #[allow(unused_mut, reason = "an object may be empty")]
        let mut text = $crate::json::text::Object::new();
        $crate::json_text!(@members text $($members)*);
        text.done()
    }};
}

/// A JSON value as compact text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0
    }
}

/// An object that [`json_text!`](crate::json_text!) writes.
#[derive(Debug)]
pub struct Object(String);

impl Default for Object {
    fn default() -> Self {
        Object::new()
    }
}

impl Object {
    /// An object without members.
    pub fn new() -> Object {
        // A log line or a receipt is longer than half of this, and hardly ever longer.
        let mut text = String::with_capacity(1024);
        text.push('{');
        Object(text)
    }

    /// The object of a text, to be added to. What is not one counts as an object without members.
    pub fn of(mut text: String) -> Object {
        if text.pop() == Some('}') { Object(text) } else { Object("{".to_owned()) }
    }

    /// Adds a member. The name is of our own making: it is written as it is.
    pub fn member(&mut self, name: &str, value: &dyn Written) {
        let Object(text) = self;
        if text.len() > 1 {
            text.push(',');
        }
        text.push('"');
        text.push_str(name);
        text.push_str("\":");
        value.write(text);
    }

    /// The object's text.
    pub fn done(self) -> Text {
        let Object(mut text) = self;
        text.push('}');
        Text(text)
    }
}

/// What can be written as JSON.
pub trait Written {
    /// Appends it.
    fn write(&self, out: &mut String);
}

impl Written for Text {
    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

impl Written for str {
    fn write(&self, out: &mut String) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if self.bytes().all(is_plain) {
            out.push('"');
            out.push_str(self);
            out.push('"');
        } else {
            // Escapes as serde_json writes them.
            let _ = write!(out, "{}", Value::from(self));
        }
    }
}

impl Written for u64 {
    fn write(&self, out: &mut String) {
        // `Display` takes ten times as long.
        let mut digits = [0; 20];
        let mut rest = *self;
        let mut first = digits.len();
        for digit in digits.iter_mut().rev() {
            // A digit fits.
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            first -= 1;
            if rest == 0 {
                break;
            }
        }
        let digits = digits.get(first..).unwrap_or_default();
        out.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

impl Written for bool {
    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl<T: Written> Written for Option<T> {
    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }
}

impl<T: Written> Written for Vec<T> {
    fn write(&self, out: &mut String) {
        out.push('[');
        for (index, item) in self.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            item.write(out);
        }
        out.push(']');
    }
}

impl<T: Written + ?Sized> Written for &T {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

impl<T: Written + ?Sized> Written for Rc<T> {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

impl Written for String {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

impl Written for Cow<'_, str> {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

macro_rules! written_as_u64 {
    ($($number:ty)*) => {
        $(impl Written for $number {
            fn write(&self, out: &mut String) {
                // No number here is wider.
                u64::try_from(*self).unwrap_or(u64::MAX).write(out);
            }
        })*
    };
}

written_as_u64!(u8 u16 u32 usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn writes_what_serde_json_writes() {
        let names = vec!["a", "b"];
        let inner = json_text!({"one": 1u64});
        let text = json_text!({
            "text": "x",
            "number": 0u64,
            "small": 7u16,
            "largest": u64::MAX,
            "none": None::<u64>,
            "some": Some("y"),
            "flag": true,
            "list": names,
            "empty": Vec::<u64>::new(),
            "object": {"a": 1u32, "b": {"c": false}},
            "objects": vec![inner],
        });
        let expected = r#"{"text":"x","number":0,"small":7,"largest":18446744073709551615,"none":null,"some":"y","flag":true,"list":["a","b"],"empty":[],"object":{"a":1,"b":{"c":false}},"objects":[{"one":1}]}"#;
        assert_eq!(String::from(text), expected);
        assert_eq!(String::from(json_text!({})), "{}");
    }

    proptest! {
        #[test]
        fn any_text_and_any_number(text in any::<String>(), number in any::<u64>()) {
            let written = String::from(json_text!({"text": text, "number": number}));
            let expected = serde_json::json!({"text": text, "number": number});
            prop_assert_eq!(written, expected.to_string());
        }
    }
}
