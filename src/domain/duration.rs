//! How long something lasts, as people write it.

/// Reads a number with its unit, in seconds: `90s`, `45m`, `8h`, `7d`, `2w`.
pub fn seconds(text: &str) -> Option<i64> {
    let (end, unit) = text.char_indices().last()?;
    let unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let digits = text.get(..end)?;
    // The standard library takes a sign too.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse::<u32>().ok()).flatten().map(|number| i64::from(number) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        for (text, wanted) in [
            ("90s", Some(90)),
            ("45m", Some(2_700)),
            ("8h", Some(28_800)),
            ("7d", Some(604_800)),
            ("2w", Some(1_209_600)),
            ("0s", Some(0)),
            ("4294967295w", Some(4_294_967_295 * 604_800)),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
        for text in ["", "s", "8", "-1h", "+1h", "1.5h", " 8h", "8 h", "8H", "4294967296s", "ü", "8ü"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
