//! Bodies of the fuzz targets; the same code runs under proptest.

use super::message::parse;

/// Reads `bytes` as a message; what was read must print and read back as the same message.
///
/// # Panics
/// If it does not: that is the bug a fuzzer looks for.
pub fn message(bytes: &[u8]) {
    if let Ok(first) = parse(bytes) {
        let printed = first.message.to_bytes();
        let again = parse(&printed).expect("a printed message parses");
        assert_eq!(first.message, again.message, "print after parse is the identity");
        assert_eq!(first.head.call_id, again.head.call_id);
    }
}
