//! The audio section of a SIP leg.
