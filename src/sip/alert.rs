//! How a phone is to ring, and whether it answers by itself: Alert-Info (RFC 3261 §20.4), Call-Info with
//! `answer-after`, and Answer-Mode (RFC 5373). No two makes agree, so each phone says what it understands.

use super::message::Name;

/// Who takes a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answering {
    /// A person.
    #[default]
    ByPerson,
    /// The phone itself, at once: a loudspeaker, an intercom.
    AtOnce,
}

/// How a call rings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// Which of the phone's tones.
    pub name: Option<String>,
    /// Who takes it.
    pub answering: Answering,
}

/// What makes a phone answer by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBy {
    /// `Call-Info: <sip:…>;answer-after=0`
    CallInfo,
    /// `Alert-Info: <http://…>;info=alert-autoanswer;delay=0`
    AlertInfo,
    /// `Answer-Mode: Auto`
    AnswerMode,
}

/// What a phone understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertForms {
    /// Alert-Info with `{alert}` for the name of the tone.
    pub alert_info: String,
    /// What makes it answer; all of them are sent.
    pub auto_answer: Vec<AnswerBy>,
}

/// What stands in the place of the name.
pub const ALERT_PLACE: &str = "{alert}";

impl Default for AlertForms {
    fn default() -> Self {
        Self {
            alert_info: format!("<http://cordboard.invalid>;info={ALERT_PLACE}"),
            auto_answer: vec![AnswerBy::CallInfo, AnswerBy::AlertInfo],
        }
    }
}

impl AlertForms {
    /// The headers that say it; `domain` is ours.
    #[must_use]
    pub fn headers(&self, alert: &Alert, domain: &str) -> Vec<(Name, String)> {
        let header = |name: &str, value: String| (Name::Other(name.to_owned()), value);
        if alert.answering == Answering::AtOnce {
            let each = self.auto_answer.iter().map(|by| match by {
                AnswerBy::CallInfo => header("Call-Info", format!("<sip:{domain}>;answer-after=0")),
                AnswerBy::AlertInfo => header(
                    "Alert-Info",
                    "<http://cordboard.invalid>;info=alert-autoanswer;delay=0".to_owned(),
                ),
                AnswerBy::AnswerMode => header("Answer-Mode", "Auto".to_owned()),
            });
            return each.collect();
        }
        let told = alert.name.iter().map(|name| self.alert_info.replace(ALERT_PLACE, name));
        told.map(|value| header("Alert-Info", value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(forms: &AlertForms, name: Option<&str>, answering: Answering) -> Vec<String> {
        let alert = Alert { name: name.map(str::to_owned), answering };
        let headers = forms.headers(&alert, "gw.example.com");
        headers.into_iter().map(|(name, value)| format!("{}: {value}", name.as_str())).collect()
    }

    #[test]
    fn a_tone_is_named_as_the_phone_wants_it_and_an_ordinary_call_has_no_header() {
        let forms = AlertForms::default();
        assert_eq!(lines(&forms, None, Answering::ByPerson), [] as [&str; 0]);
        assert_eq!(
            lines(&forms, Some("support"), Answering::ByPerson),
            ["Alert-Info: <http://cordboard.invalid>;info=support"]
        );
        let cisco = AlertForms { alert_info: "<Bellcore-dr{alert}>".to_owned(), ..forms };
        assert_eq!(lines(&cisco, Some("3"), Answering::ByPerson), ["Alert-Info: <Bellcore-dr3>"]);
    }

    #[test]
    fn a_phone_that_answers_by_itself_is_told_so_in_each_way_it_may_know_and_in_no_other() {
        assert_eq!(
            lines(&AlertForms::default(), Some("support"), Answering::AtOnce),
            [
                "Call-Info: <sip:gw.example.com>;answer-after=0",
                "Alert-Info: <http://cordboard.invalid>;info=alert-autoanswer;delay=0"
            ]
        );
        let modern = AlertForms { auto_answer: vec![AnswerBy::AnswerMode], ..AlertForms::default() };
        assert_eq!(lines(&modern, None, Answering::AtOnce), ["Answer-Mode: Auto"]);
    }
}
