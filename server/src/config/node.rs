//! Whether the configuration asks for what one node is: broker and controller in one process, the only voter, no
//! security. Anything else refuses to start: a broker that quietly stood alone, or open to everybody, would be worse
//! than none.

use super::resolve::{ConfigError, Resolved};

/// Checks the keys about roles, the quorum and security.
pub(super) fn check(resolved: &Resolved) -> Result<(), ConfigError> {
    let refuse = |key, problem: &str| Err(resolved.refuse(key, problem));
    if let [role] = resolved.list("process.roles")[..] {
        let problem = format!(
            "only `broker,controller` in one process is built yet, a {role} of a larger cluster is not"
        );
        return refuse("process.roles", &problem);
    }
    for key in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        if resolved.list(key).len() > 1 {
            return refuse(key, "a quorum of several controllers is not built yet: name this node alone");
        }
    }
    let node_id = resolved.text("node.id").unwrap_or_default();
    if let [voter] = resolved.list("controller.quorum.voters")[..]
        && voter.split_once('@').map(|(id, _)| id) != Some(node_id)
    {
        return refuse(
            "controller.quorum.voters",
            &format!("the one voter must be this node: {node_id}@HOST:PORT"),
        );
    }
    if resolved.is_set("authorizer.class.name") {
        return refuse(
            "authorizer.class.name",
            "authorization is not built yet, and without it everybody may do everything; remove the key to accept that",
        );
    }
    if let Some(directory) = resolved.text("metadata.log.dir")
        && resolved.list("log.dirs").first() != Some(&directory)
    {
        return refuse(
            "metadata.log.dir",
            "the metadata log lives in the first of log.dirs; a place of its own is not built yet",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::Sources;

    fn checked(set: &[&str]) -> Result<(), String> {
        let set = set.iter().map(|&entry| entry.to_owned()).collect();
        let resolved = Resolved::new(&Sources { set, ..Sources::default() }).unwrap();
        check(&resolved).map_err(|error| error.to_string())
    }

    #[test]
    fn one_combined_node_is_taken() {
        checked(&[]).unwrap();
        checked(&[
            "process.roles=broker,controller",
            "node.id=7",
            "controller.quorum.voters=7@localhost:9093",
        ])
        .unwrap();
        checked(&[
            "controller.quorum.bootstrap.servers=localhost:9093",
            "log.dirs=/a,/b",
            "metadata.log.dir=/a",
        ])
        .unwrap();
    }

    #[test]
    fn a_part_of_a_cluster_and_security_are_refused() {
        for (set, part) in [
            ("process.roles=broker", "larger cluster"),
            ("process.roles=controller", "larger cluster"),
            ("controller.quorum.voters=1@a:9093,2@b:9093,3@c:9093", "several controllers"),
            ("controller.quorum.voters=2@localhost:9093", "1@HOST:PORT"),
            ("controller.quorum.bootstrap.servers=a:9093,b:9093", "several controllers"),
            ("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "everybody"),
            ("metadata.log.dir=/elsewhere", "first of log.dirs"),
        ] {
            let text = checked(&[set]).unwrap_err();
            assert!(text.contains(part), "{set}: {text}");
        }
    }
}
