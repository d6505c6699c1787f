//! Dots, version vectors, sibling sets and contexts (§4.4)
