//! Every way in which offsets and state may or may not fit.
