//! One bridged call: a B2BUA between a WhatsApp leg and a SIP leg, as a plain state machine.

pub mod record;

pub use record::{CallDirection, CallRecord};
