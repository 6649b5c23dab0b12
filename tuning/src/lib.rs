//! Host probe and tuning. Nothing is here yet: the crate holds the place that the workspace gives it.
