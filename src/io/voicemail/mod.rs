//! Voice messages: where their files stand, how they come from Meta, and who may do what with them.
//!
//! | file | holds |
//! | --- | --- |
//! | `cabinet` | the files |
//! | `mailroom` | the recorder of messages, and what is done with old ones |
//! | `desk` | list, fetch, heard, delete for the administrator's HTTP |

mod cabinet;
mod desk;
mod mailroom;

pub use cabinet::Cabinet;
pub use desk::{MessageRow, router};
pub use mailroom::Mailroom;
