//! Voice messages: where their files stand, how they come from Meta, and who may do what with them.
//!
//! | file | holds |
//! | --- | --- |
//! | `cabinet` | the files |
//! | `mailroom` | the recorder of messages, and what is done with old ones |
//! | `fetch` | what users said to Meta's voicemail, fetched from there |
//! | `desk` | list, fetch, heard, delete for the administrator's HTTP |

mod cabinet;
mod desk;
mod fetch;
mod mailroom;

pub use cabinet::Cabinet;
pub use desk::{MessageRow, router};
use fetch::Fetcher;
pub use mailroom::Mailroom;
