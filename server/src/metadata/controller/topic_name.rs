//! Which names topics may have (Kafka's `Topic.validate` and `Topic.hasCollision`).

use super::super::error::{ControllerError, ErrorCode};
use super::super::image::MetadataImage;

/// Longest name: a folder `name-partition` has to fit into 255 bytes, with room for a suffix.
pub const NAME_BYTES_MAX: usize = 249;

/// Checks the form of a name.
pub fn check_form(name: &str) -> Result<(), ControllerError> {
    let problem = if name.is_empty() {
        "a topic's name cannot be empty".to_string()
    } else if name == "." || name == ".." {
        format!("a topic cannot be named '{name}'")
    } else if name.len() > NAME_BYTES_MAX {
        format!("a topic's name has at most {NAME_BYTES_MAX} characters, this one has {}", name.len())
    } else if let Some(bad) =
        name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        format!("'{name}' cannot be a topic's name because of {bad:?}: letters, digits, '.', '_' and '-' can")
    } else {
        return Ok(());
    };
    Err(ControllerError::new(ErrorCode::InvalidTopicException, problem))
}

/// Checks that no other topic would have the same name in metrics, where '.' becomes '_'.
pub fn check_collision(name: &str, image: &MetadataImage) -> Result<(), ControllerError> {
    let other = image.topic_with_metric_name_of(name).filter(|other| ***other != *name);
    match other {
        None => Ok(()),
        Some(other) => Err(ControllerError::new(
            ErrorCode::InvalidTopicException,
            format!(
                "'{name}' differs from the topic '{other}' only in '.' and '_', which metrics cannot tell apart"
            ),
        )),
    }
}
