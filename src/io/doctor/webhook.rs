//! Whether Meta's webhooks reach us: the handshake and a signed post, at the callback URL as the world sees it, and
//! the certificate's time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use x509_parser::pem::Pem;

use super::Finding;
use crate::config::Config;
use crate::io::signalling::now;
use crate::time::Wall;
use crate::whatsapp::webhook::sign;

/// Longer than any proxy that is well.
const PATIENCE: Duration = Duration::from_secs(10);
/// Certificates that live for 90 days are renewed a month before: two weeks are late.
const CERTIFICATE_SOON: Duration = Duration::from_hours(24 * 14);
/// Concerns nobody: read, and answered 200.
const EMPTY: &str = r#"{"object":"whatsapp_business_account","entry":[]}"#;

/// Tries each callback URL, or the listener itself if Meta does not tell any.
pub(super) async fn examine(config: &Config, callbacks: &BTreeSet<String>) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Some(tls) = &config.webhook.tls {
        all.push(certificate("webhook.tls.certificate", &tls.certificate, now().wall));
    }
    if let Some(tls) = &config.sip.tls {
        all.push(certificate("sip.certificate", &tls.certificate, now().wall));
    }
    for url in callbacks {
        let client = Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
        if let Ok(client) = client.build() {
            all.extend(knock(config, &client, url).await);
        }
    }
    if callbacks.is_empty() {
        let found = "Meta did not tell the callback URL: whether it leads here is unknown";
        let remedy = "see the token's findings, or open the URL with hub.mode, hub.verify_token and hub.challenge yourself";
        all.push(Finding::unknown("webhook", "webhook", found).mend(remedy));
    }
    all
}

/// What came of one request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The challenge came back.
    Echoed,
    /// Somebody answered otherwise.
    Other(StatusCode),
    /// Nobody did: why.
    None(String),
}

async fn knock(config: &Config, client: &Client, url: &str) -> Vec<Finding> {
    let challenge = getrandom::u32().unwrap_or(7).to_string();
    let query = [
        ("hub.mode", "subscribe"),
        ("hub.verify_token", config.webhook.verify_token.expose()),
        ("hub.challenge", &challenge),
    ];
    let answer = match client.get(url).query(&query).send().await {
        Ok(response) => {
            let status = response.status();
            let echoed = response.text().await.is_ok_and(|it| it.trim() == challenge);
            if status.is_success() && echoed { Answer::Echoed } else { Answer::Other(status) }
        }
        Err(error) => Answer::None(deepest(&error.without_url())),
    };
    let handshake = handshake(url, &answer);
    if answer != Answer::Echoed {
        return vec![handshake];
    }
    let mut all = vec![handshake];
    for (at, secret) in config.webhook.app_secrets.iter().enumerate() {
        let sent = client
            .post(url)
            .header("content-type", "application/json")
            .header("x-hub-signature-256", sign(secret.expose().as_bytes(), EMPTY.as_bytes()))
            .body(EMPTY)
            .send()
            .await;
        let place = format!("{url}, signed with webhook.app_secrets[{}]", at + 1);
        all.push(match sent {
            Ok(response) => signed(&place, response.status()),
            Err(error) => Finding::unknown("webhook_post", place, deepest(&error.without_url())),
        });
    }
    all
}

fn handshake(url: &str, answer: &Answer) -> Finding {
    let check = "webhook";
    match answer {
        Answer::Echoed => Finding::good(check, url, "answers Meta's handshake"),
        Answer::Other(StatusCode::FORBIDDEN) => Finding::fault(check, url, "answers, but not to webhook.verify_token (403)")
            .mend("restart the gateway if the file was changed; a proxy may also refuse: see its log"),
        Answer::Other(status) => Finding::fault(check, url, format!("somebody else answers there ({status})"))
            .mend("the proxy must pass the path on to webhook.listen, query and all"),
        // From inside the own network an address outside may be unreachable although Meta reaches it.
        Answer::None(why) if why.contains("certificate") => {
            Finding::fault(check, url, format!("its certificate is not to be trusted: {why}"))
                .mend("a certificate of a public authority, with its whole chain: Meta refuses self-signed ones")
        }
        Answer::None(why) => Finding::warning(check, url, format!("cannot be reached from here: {why}"))
            .mend("try it from outside: a firewall, a port that is not forwarded, or a name that leads elsewhere"),
    }
}

fn signed(place: &str, status: StatusCode) -> Finding {
    match status {
        StatusCode::OK => Finding::good("webhook_post", place, "a signed webhook is taken"),
        StatusCode::UNAUTHORIZED => Finding::fault("webhook_post", place, "a signed webhook is refused (401)")
            .mend("a proxy that changes bodies breaks the signature; or restart the gateway if the file was changed"),
        StatusCode::SERVICE_UNAVAILABLE => {
            Finding::fault("webhook_post", place, "the gateway cannot keep webhooks (503)")
                .mend("curl /readyz of admin.listen: the store, its disk")
        }
        other => Finding::fault("webhook_post", place, format!("a signed webhook is answered {other}"))
            .mend("the proxy must pass POST on to webhook.listen, headers and all"),
    }
}

/// The cause at the bottom says what happened; those above it say where in the program.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// How long the certificate in a PEM file is good for; the leaf comes first.
fn certificate(key: &'static str, path: &Path, now: Wall) -> Finding {
    let (check, remedy) =
        ("certificate", "renew it: certbot renew, or whatever makes it; it is taken up without a restart");
    let read = std::fs::File::open(path).map_err(|it| it.to_string());
    let pem = read.and_then(|file| Pem::read(std::io::BufReader::new(file)).map_err(|it| it.to_string()));
    let place = format!("{key}, {}", path.display());
    let (pem, _) = match pem {
        Ok(read) => read,
        Err(error) => {
            return Finding::fault(check, place, error).mend("cordboard check says what the file must hold");
        }
    };
    let Ok(leaf) = pem.parse_x509() else {
        return Finding::fault(check, place, "holds no certificate that can be read").mend(remedy);
    };
    let validity = leaf.validity();
    let (from, until) =
        (Wall::from_secs(validity.not_before.timestamp()), Wall::from_secs(validity.not_after.timestamp()));
    match () {
        () if now < from => {
            Finding::fault(check, place, format!("is good from {from} on: is the clock right?")).mend(remedy)
        }
        () if until <= now => Finding::fault(check, place, format!("ended at {until}")).mend(remedy),
        () if until.since(now) < CERTIFICATE_SOON => {
            Finding::warning(check, place, format!("ends at {until}")).mend(remedy)
        }
        () => Finding::good(check, place, format!("good until {until}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn what_an_answer_means_depends_on_who_gave_it() {
        let of = |answer: Answer| handshake("https://gw.example.com/webhook", &answer).severity;
        assert_eq!(of(Answer::Echoed), Severity::Good);
        assert_eq!(of(Answer::Other(StatusCode::FORBIDDEN)), Severity::Fault);
        assert_eq!(of(Answer::Other(StatusCode::OK)), Severity::Fault, "a page is no echo");
        assert_eq!(of(Answer::None("invalid peer certificate: UnknownIssuer".into())), Severity::Fault);
        assert_eq!(
            of(Answer::None("connection refused".into())),
            Severity::Warning,
            "a NAT may be in the way"
        );
        let post = |code| signed("x", StatusCode::from_u16(code).expect("a status")).severity;
        assert_eq!(
            [post(200), post(401), post(502), post(503)],
            [Severity::Good, Severity::Fault, Severity::Fault, Severity::Fault]
        );
    }

    #[test]
    fn a_certificate_is_told_before_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chain.pem");
        let made = rcgen::generate_simple_self_signed(vec!["gw.example.com".to_owned()]).expect("made");
        std::fs::write(&path, made.cert.pem()).expect("written");
        let pem = Pem::read(std::io::Cursor::new(made.cert.pem())).expect("read").0;
        let leaf = pem.parse_x509().expect("a certificate");
        let until = Wall::from_secs(leaf.validity().not_after.timestamp());
        let at = |days: u64| {
            certificate("webhook.tls.certificate", &path, until - Duration::from_hours(24 * days))
        };
        assert_eq!(
            [at(15).severity, at(14).severity, at(13).severity, at(0).severity],
            [Severity::Good, Severity::Good, Severity::Warning, Severity::Fault]
        );
        std::fs::write(&path, "no certificate").expect("written");
        assert_eq!(at(15).severity, Severity::Fault);
        assert_eq!(certificate("x", Path::new("/nowhere.pem"), until).severity, Severity::Fault);
    }
}
