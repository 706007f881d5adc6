//! Message waiting: how many voice messages there are (RFC 3842 §5.2).

/// Voice messages of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Not heard yet.
    pub new: u32,
    /// Heard and kept.
    pub old: u32,
}

impl Messages {
    /// Both mailboxes together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { new: self.new.saturating_add(other.new), old: self.old.saturating_add(other.old) }
    }
}

/// The body; `account` is the address to dial to hear them. The numbers in brackets are those of urgent messages.
#[must_use]
pub fn print(messages: Messages, account: &str) -> String {
    let waiting = if messages.new > 0 { "yes" } else { "no" };
    format!(
        "Messages-Waiting: {waiting}\r\nMessage-Account: {account}\r\nVoice-Message: {}/{} (0/0)\r\n",
        messages.new, messages.old
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lamp_is_for_new_messages_and_the_numbers_for_all() {
        let two = Messages { new: 2, old: 1 }.and(Messages { new: 0, old: 7 });
        assert_eq!(
            print(two, "sip:1001@h"),
            "Messages-Waiting: yes\r\nMessage-Account: sip:1001@h\r\nVoice-Message: 2/8 (0/0)\r\n"
        );
        assert!(print(Messages { new: 0, old: 3 }, "sip:1001@h").starts_with("Messages-Waiting: no\r\n"));
    }
}
