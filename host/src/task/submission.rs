//! What holds for every submission, whoever makes it: a client over HTTP, a schedule, or a guest for its children.

use std::collections::BTreeMap;

use super::{Priority, TaskType};

/// How deep a payload may be nested. Common JSON readers stop at 128 levels, and an answer wraps some of its own around it.
pub const PAYLOAD_DEPTH_MAX: usize = 100;

/// What a submission gets that does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskDefaults {
    /// How urgent.
    pub priority: Priority,
    /// Attempts that may be made.
    pub max_attempts: u32,
}

impl Default for TaskDefaults {
    fn default() -> Self {
        Self { priority: Priority::Normal, max_attempts: 3 }
    }
}

/// The defaults of every task type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefaultsByType {
    /// Of those that have their own.
    pub own: BTreeMap<TaskType, TaskDefaults>,
    /// Of all others.
    pub others: TaskDefaults,
}

impl DefaultsByType {
    /// What a submission of this type gets.
    #[must_use]
    pub fn of(&self, task_type: &TaskType) -> TaskDefaults {
        self.own.get(task_type).copied().unwrap_or(self.others)
    }
}

/// Whether JSON text is nested no deeper than readers can follow. The text is known to be valid JSON.
#[must_use]
pub fn is_shallow(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > PAYLOAD_DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_do_not_count_and_others_do() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_shallow(&nested(PAYLOAD_DEPTH_MAX)) && !is_shallow(&nested(PAYLOAD_DEPTH_MAX + 1)));
        assert!(is_shallow(&format!("[\"\\\"{}\", {}]", "[".repeat(500), "{}, ".repeat(500).trim_end_matches(", "))));
    }
}
