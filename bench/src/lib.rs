//! The bundled load generators. Nothing is here yet: the crate holds the place that the workspace gives it.
