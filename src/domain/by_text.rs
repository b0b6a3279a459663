//! Values that serde reads and writes as the text that people do.

/// Lets serde's `try_from = "String", into = "String"` go by the `FromStr`, with this error, and the `Display` of types.
macro_rules! by_text {
    ($error:ty: $($type:ty),+) => {$(
        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )+};
}
