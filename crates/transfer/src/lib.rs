//! Hinted handoff: what to send, when it is safe to drop (§4.6)
