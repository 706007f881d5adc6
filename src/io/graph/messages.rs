//! `POST /messages`: permission requests, call buttons, templates. Each is tried once: a second one would be a second
//! message, and count as a second request.

use reqwest::header::CONTENT_TYPE;

use super::judge::End;
use super::{GraphClient, wall_now};
use crate::id::PhoneNumberId;
use crate::io::asking::Sent;
use crate::masked::Secret;
use crate::whatsapp::{Failure, Message, message_id};

impl GraphClient {
    /// Sends a message; gives its id, by which the answer to it is known.
    ///
    /// # Errors
    /// How it ended, and whether Meta may have it nevertheless.
    pub async fn message(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
        message: &Message,
    ) -> Result<String, (Failure, Sent)> {
        let url = format!("{}/{number}/messages", self.root);
        let request =
            self.client.post(&url).header(CONTENT_TYPE, "application/json").body(message.body().to_string());
        let end = self.send(request, token).await;
        end.log("messages");
        match end {
            End::Answered { body } => message_id(&body).ok_or((Failure::Unreadable, Sent::Perhaps)),
            End::Refused { .. } | End::NeverSent => Err((end.failure(wall_now()), Sent::Never)),
            other => Err((other.failure(wall_now()), Sent::Perhaps)),
        }
    }
}
