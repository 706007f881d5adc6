//! The command line of `cordboard simulate`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::call::Number;

/// Plays WhatsApp: users who call and are called, Meta's Graph API, webhooks and media relay.
#[derive(Clone, Debug, clap::Args)]
pub struct SimulateArgs {
    /// Where the Graph API and the control API listen
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,

    /// The one UDP socket for the media of all calls; a real address, because it stands in the SDP
    #[arg(long, default_value = "127.0.0.1:0")]
    pub media: SocketAddr,

    /// The gateway's webhook URL
    #[arg(long)]
    pub webhook: String,

    /// File with the app secret that signs webhooks
    #[arg(long)]
    pub app_secret_file: PathBuf,

    /// File with the access token that Graph requests must bear
    #[arg(long)]
    pub access_token_file: PathBuf,

    /// A business number as PHONE_NUMBER_ID=DIGITS; may be repeated
    #[arg(long = "number", required = true, value_parser = number)]
    pub numbers: Vec<(String, String)>,

    /// How long a user's call waits for `accept`
    #[arg(long, default_value = "45s", value_parser = span)]
    pub accept_window: Duration,

    /// How long a called user's phone rings
    #[arg(long, default_value = "45s", value_parser = span)]
    pub ring_time: Duration,

    /// The client hangs up if no media came this long after the answer
    #[arg(long, default_value = "20s", value_parser = span)]
    pub first_media: Duration,

    /// The client hangs up after a gap of this length
    #[arg(long, default_value = "30s", value_parser = span)]
    pub media_gap: Duration,

    /// A business-initiated call fails if no ICE check came in this time
    #[arg(long, default_value = "20s", value_parser = span)]
    pub connect_time: Duration,

    /// First distance between repeats of a webhook that was not answered 200; doubles each time
    #[arg(long, default_value = "1s", value_parser = span)]
    pub webhook_retry: Duration,

    /// Seed of ids, keys and chance, for runs that are alike; random by default
    #[arg(long)]
    pub seed: Option<u64>,
}

impl SimulateArgs {
    /// The numbers as the stand-in keeps them.
    pub(super) fn own_numbers(&self) -> Vec<Number> {
        let number = |(id, digits): &(String, String)| Number {
            id: id.clone(),
            digits: digits.clone(),
            calling: true,
            callback_permission: false,
        };
        self.numbers.iter().map(number).collect()
    }
}

fn number(text: &str) -> Result<(String, String), String> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('=')
        .map(|(id, number)| (id.trim(), number.trim().trim_start_matches('+')))
        .filter(|(id, number)| digits(id) && digits(number))
        .map(|(id, number)| (id.to_owned(), number.to_owned()))
        .ok_or_else(|| "write PHONE_NUMBER_ID=DIGITS, for example 108911223344556=493055500010".to_owned())
}

fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number with ms, s or m, for example 500ms or 20s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (count, unit) = text.split_at(split);
    let count: u32 = count.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(u64::from(count))),
        "s" => Ok(Duration::from_secs(u64::from(count))),
        "m" => Ok(Duration::from_secs(u64::from(count) * 60)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_id_and_digits() {
        assert_eq!(number("1089=+4930"), Ok(("1089".to_owned(), "4930".to_owned())));
        assert!(number("1089").is_err() && number("a=1").is_err() && number("1=").is_err());
    }

    #[test]
    fn a_span_has_a_unit() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("2m"), Ok(Duration::from_secs(120)));
        assert!(
            span("20").is_err() && span("s").is_err() && span("1h").is_err() && span("99999999999s").is_err()
        );
    }
}
