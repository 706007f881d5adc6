//! How each kind of value is written in the file.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

/// A kind of value that a key can have.
pub(super) trait Setting: Sized {
    /// What the file should hold, as the end of "… is not".
    const WANTED: &'static str;
    /// Reads the value; `None` if it is not of this kind.
    fn read(value: &DeValue<'_>) -> Option<Self>;
    /// Writes it as the file would.
    fn write(&self) -> String;
}

/// A value as the administrator wrote it, cut short; only for keys that hold no secret.
pub(super) fn quote(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > 60 => {
            format!("{:?}...", text.chars().take(60).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(at) => at.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn text<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    value.as_str()
}

impl Setting for String {
    const WANTED: &'static str = "a text in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        text(value).filter(|it| !it.trim().is_empty()).map(str::to_owned)
    }
    fn write(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for PathBuf {
    const WANTED: &'static str = "a path in quotes";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        text(value).filter(|it| !it.is_empty()).map(Self::from)
    }
    fn write(&self) -> String {
        format!("{:?}", self.display().to_string())
    }
}

impl Setting for bool {
    const WANTED: &'static str = "true or false";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    const WANTED: &'static str = "a whole number";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let number = value.as_integer()?;
        Self::from_str_radix(number.as_str(), number.radix()).ok()
    }
    fn write(&self) -> String {
        self.to_string()
    }
}

impl Setting for SocketAddr {
    const WANTED: &'static str = "an IP address with a port";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        text(value)?.parse().ok().filter(|it: &Self| it.port() != 0)
    }
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Setting for IpAddr {
    const WANTED: &'static str = "an IP address";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        text(value)?.parse().ok()
    }
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

/// An address alone is the network of itself.
impl Setting for IpNet {
    const WANTED: &'static str = "a network like \"192.168.0.0/16\", or an IP address";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let text = text(value)?;
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(Self::from)).map(|it| it.trunc())
    }
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Setting for RangeInclusive<u16> {
    const WANTED: &'static str = "a range of ports, lower one first";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        let (first, last) = text(value)?.split_once('-')?;
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first >= 1024 && first < last).then_some(first..=last)
    }
    fn write(&self) -> String {
        format!("\"{}-{}\"", self.start(), self.end())
    }
}

/// The units of a time span, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a whole number and its unit.
pub(super) fn read_span(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

impl Setting for Duration {
    const WANTED: &'static str = "a time with its unit: ms, s, m, h or d";
    fn read(value: &DeValue<'_>) -> Option<Self> {
        read_span(text(value)?)
    }
    fn write(&self) -> String {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let fits = |unit: u64| millis >= unit && millis.is_multiple_of(unit);
        UNITS
            .into_iter()
            .find(|(_, unit)| fits(*unit))
            .map_or_else(|| "\"0s\"".to_owned(), |(name, unit)| format!("\"{}{name}\"", millis / unit))
    }
}

/// Makes an enum of words a [`Setting`].
macro_rules! words {
    ($type:ty, $wanted:literal, $($word:literal => $value:expr),+) => {
        impl Setting for $type {
            const WANTED: &'static str = $wanted;
            fn read(value: &toml::de::DeValue<'_>) -> Option<Self> {
                match value.as_str()? {
                    $($word => Some($value),)+
                    _ => None,
                }
            }
            fn write(&self) -> String {
                [$((format!("{:?}", $word), $value)),+]
                    .into_iter()
                    .find(|(_, value)| value == self)
                    .map(|(word, _)| word)
                    .expect("every variant has a word")
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(toml: &str) -> Option<T> {
        T::read(DeValue::parse(toml).expect("TOML").get_ref())
    }

    #[test]
    fn a_time_has_a_unit_and_prints_in_the_largest_that_fits() {
        for (text, millis, printed) in [
            ("\"25s\"", 25_000, "\"25s\""),
            ("\"500ms\"", 500, "\"500ms\""),
            ("\"24h\"", 86_400_000, "\"1d\""),
            ("\"90 m\"", 5_400_000, "\"90m\""),
            ("\"0s\"", 0, "\"0s\""),
        ] {
            let span: Duration = read(text).expect(text);
            assert_eq!((span, span.write().as_str()), (Duration::from_millis(millis), printed));
        }
        for wrong in ["\"25\"", "25", "\"s\"", "\"-1s\"", "\"1.5s\"", "\"99999999999999999d\"", "\"5 min\""] {
            assert_eq!(read::<Duration>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_range_runs_upwards_and_keeps_out_of_the_reserved_ports() {
        assert_eq!(read("\"40000-40999\""), Some(40_000_u16..=40_999));
        for wrong in ["\"40999-40000\"", "\"1-2000\"", "\"40000\"", "\"40000-70000\"", "40000"] {
            assert_eq!(read::<RangeInclusive<u16>>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_listen_address_needs_a_port_of_its_own() {
        assert!(
            read::<SocketAddr>("\"0.0.0.0:5060\"").is_some()
                && read::<SocketAddr>("\"[::1]:5060\"").is_some()
        );
        for wrong in ["\"0.0.0.0\"", "\"5060\"", "5060", "\"127.0.0.1:0\"", "\"pbx.example:5060\""] {
            assert_eq!(read::<SocketAddr>(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_is_whole_and_not_negative() {
        assert_eq!(read::<u32>("1_000"), Some(1000));
        assert!(
            read::<u32>("-1").is_none() && read::<u32>("1.5").is_none() && read::<u32>("\"1\"").is_none()
        );
    }
}
