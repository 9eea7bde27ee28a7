//! Attacks with tokens, each refused.
