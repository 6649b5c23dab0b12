//! The simulated disk: names, directories and files, each with what is live and what is certain.
//!
//! A change of names (a link, an unlink, a rename) is whole or absent after a power cut, each for itself and
//! in any combination, until a sync of its directory makes it certain; a rename needs both directories.
//! Knows no time and no tasks.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Component, Path};

use super::content::{ChangeNumber, Content, Mood};
use super::random::Random;

/// A file or a directory, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct NodeId(u64);

const ROOT: NodeId = NodeId(0);

type Name = (NodeId, String);
type Names = BTreeMap<Name, NodeId>;

#[derive(Clone, Debug)]
enum Node {
    Directory,
    File(Content),
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { name: Name, node: NodeId },
    Unlink { name: Name, node: NodeId },
    Rename { from: Name, to: Name, node: NodeId },
}

#[derive(Clone, Debug)]
struct NameEffect {
    number: ChangeNumber,
    change: NameChange,
    /// Directories that must still be synced before it is certain.
    unsynced: Vec<NodeId>,
}

/// All files and names.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<NodeId, Node>,
    live: Names,
    base: Names,
    effects: VecDeque<NameEffect>,
    next_node: u64,
    next_change: ChangeNumber,
    full: bool,
}

impl Disk {
    /// An empty root directory.
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Directory)]),
            live: Names::new(),
            base: Names::new(),
            effects: VecDeque::new(),
            next_node: 1,
            next_change: 0,
            full: false,
        }
    }

    /// A number for a change.
    pub(super) fn next_change(&mut self) -> ChangeNumber {
        self.next_change += 1;
        self.next_change
    }

    /// The file or directory under a path.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<NodeId> {
        components(path)?.into_iter().try_fold(ROOT, |directory, name| {
            self.live.get(&(directory, name)).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    /// The file under a path; a directory is an error.
    pub(super) fn resolve_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.resolve(path)?;
        self.content(node).map(|_| node)
    }

    /// A file's bytes.
    pub(super) fn content(&self, node: NodeId) -> io::Result<&Content> {
        match self.nodes.get(&node) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// A file's bytes, to change them.
    pub(super) fn content_mut(&mut self, node: NodeId) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&node) {
            Some(Node::File(content)) => Ok(content),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Fills the device up, or makes room.
    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// An error if the device is full.
    pub(super) fn room(&self) -> io::Result<()> {
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Gives a file blocks up to `end`; those it has it keeps.
    pub(super) fn allocate(&mut self, node: NodeId, end: usize) -> io::Result<()> {
        if end > self.content(node)?.allocated() {
            self.room()?;
            self.content_mut(node)?.allocate(end);
        }
        Ok(())
    }

    /// Makes an empty file.
    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.room()?;
        let name = self.name_of(path)?;
        if self.live.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.link(name, Node::File(Content::default())))
    }

    /// Makes a directory and its parents where missing; the changes that must be synced.
    pub(super) fn create_directories(&mut self, path: &Path) -> io::Result<()> {
        let mut directory = ROOT;
        for component in components(path)? {
            let name = (directory, component);
            directory = match self.live.get(&name).copied() {
                Some(node) => node,
                None => self.link(name, Node::Directory),
            };
            if !matches!(self.nodes.get(&directory), Some(Node::Directory)) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
        }
        Ok(())
    }

    /// The changes that made the directories of a path.
    pub(super) fn links_of(&self, path: &Path) -> Vec<ChangeNumber> {
        let mut numbers = Vec::new();
        let mut directory = ROOT;
        for component in components(path).unwrap_or_default() {
            let wanted = (directory, component);
            numbers.extend(self.effects.iter().filter_map(|effect| match &effect.change {
                NameChange::Link { name, .. } | NameChange::Rename { to: name, .. } if *name == wanted => {
                    Some(effect.number)
                }
                _ => None,
            }));
            let Some(node) = self.live.get(&wanted) else { break };
            directory = *node;
        }
        numbers
    }

    /// Makes these changes of names certain, whatever directories they are in.
    pub(super) fn make_certain(&mut self, numbers: &[ChangeNumber]) {
        for effect in self.effects.iter_mut().filter(|effect| numbers.contains(&effect.number)) {
            effect.unsynced.clear();
        }
        self.fold();
    }

    /// Names in a directory, sorted.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let directory = self.directory(path)?;
        Ok(self.children(directory).into_iter().map(|(name, _)| name.1).collect())
    }

    /// Files of a directory and their lengths, sorted by name.
    pub(super) fn list_files(&self, path: &Path) -> io::Result<Vec<(String, u64)>> {
        let directory = self.directory(path)?;
        let children = self.children(directory).into_iter();
        let sized = children.filter_map(|((_, name), node)| {
            let bytes = self.content(node).ok()?.live().len();
            Some((name, u64::try_from(bytes).unwrap_or(u64::MAX)))
        });
        Ok(sized.collect())
    }

    /// Renames; a file takes the place of a file.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.resolve(from)?;
        let (from, to) = (self.name_of(from)?, self.name_of(to)?);
        if from == to {
            return Ok(());
        }
        if let Some(replaced) = self.live.get(&to)
            && (matches!(self.nodes.get(replaced), Some(Node::Directory))
                || matches!(self.nodes.get(&node), Some(Node::Directory)))
        {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut unsynced = vec![from.0, to.0];
        unsynced.dedup();
        self.change_names(NameChange::Rename { from, to, node }, unsynced);
        Ok(())
    }

    /// Removes a file.
    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let node = self.resolve_file(path)?;
        let name = self.name_of(path)?;
        let directory = name.0;
        self.change_names(NameChange::Unlink { name, node }, vec![directory]);
        Ok(())
    }

    /// Removes a directory and all in it, children first, each a change of its own.
    pub(super) fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        let node = self.directory(path)?;
        let name = self.name_of(path)?;
        self.remove_children(node);
        let directory = name.0;
        self.change_names(NameChange::Unlink { name, node }, vec![directory]);
        Ok(())
    }

    /// The directory under a path, and which changes a sync of it that begins now covers.
    pub(super) fn begin_sync_directory(&self, path: &Path) -> io::Result<(NodeId, Vec<ChangeNumber>)> {
        let directory = self.directory(path)?;
        let covered = self.effects.iter().filter(|effect| effect.unsynced.contains(&directory));
        Ok((directory, covered.map(|effect| effect.number).collect()))
    }

    /// A sync of `directory` that covered these has returned.
    pub(super) fn complete_sync_directory(&mut self, directory: NodeId, covered: &[ChangeNumber]) {
        for effect in self.effects.iter_mut().filter(|effect| covered.contains(&effect.number)) {
            effect.unsynced.retain(|unsynced| *unsynced != directory);
        }
        self.fold();
    }

    /// The disk as a power cut may leave it; all that is left is certain.
    pub(super) fn crashed(&self, random: &mut Random) -> Self {
        let mood = match random.below(4) {
            0 => Mood::Loses,
            1 => Mood::Keeps,
            _ => Mood::Mixes,
        };
        let mut names = self.base.clone();
        for effect in &self.effects {
            if effect.unsynced.is_empty() || mood.keeps(random) {
                apply(&mut names, &effect.change);
            }
        }
        let nodes = self.nodes.iter().map(|(node, kind)| {
            let left = match kind {
                Node::Directory => Node::Directory,
                Node::File(content) => {
                    Node::File(Content::certain(content.crashed(mood, random), content.modified))
                }
            };
            (*node, left)
        });
        let mut disk = Self {
            nodes: nodes.collect(),
            live: names,
            base: Names::new(),
            effects: VecDeque::new(),
            next_node: self.next_node,
            next_change: self.next_change,
            full: false,
        };
        disk.drop_unreachable();
        disk.base.clone_from(&disk.live);
        disk
    }

    /// The disk as the next process finds it after this one was killed, without a power cut.
    pub(super) fn abandoned(&self, random: &mut Random) -> Self {
        let mut disk = self.clone();
        for node in disk.nodes.values_mut() {
            if let Node::File(content) = node {
                content.abandon(random);
            }
        }
        disk
    }

    fn drop_unreachable(&mut self) {
        let mut reached = vec![ROOT];
        let mut index = 0;
        while let Some(directory) = reached.get(index).copied() {
            reached.extend(self.children(directory).into_iter().map(|(_, node)| node));
            index += 1;
        }
        reached.sort_unstable();
        self.nodes.retain(|node, _| reached.binary_search(node).is_ok());
        self.live.retain(|name, _| reached.binary_search(&name.0).is_ok());
    }

    fn children(&self, directory: NodeId) -> Vec<(Name, NodeId)> {
        self.live
            .range((directory, String::new())..)
            .take_while(|(name, _)| name.0 == directory)
            .map(|(name, node)| (name.clone(), *node))
            .collect()
    }

    fn remove_children(&mut self, directory: NodeId) {
        for (name, node) in self.children(directory) {
            if matches!(self.nodes.get(&node), Some(Node::Directory)) {
                self.remove_children(node);
            }
            self.change_names(NameChange::Unlink { name, node }, vec![directory]);
        }
    }

    fn directory(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.resolve(path)?;
        match self.nodes.get(&node) {
            Some(Node::Directory) => Ok(node),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn name_of(&self, path: &Path) -> io::Result<Name> {
        let mut components = components(path)?;
        let last = components.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = components.into_iter().try_fold(ROOT, |directory, name| {
            self.live.get(&(directory, name)).copied().ok_or(io::ErrorKind::NotFound)
        })?;
        match self.nodes.get(&parent) {
            Some(Node::Directory) => Ok((parent, last)),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn link(&mut self, name: Name, kind: Node) -> NodeId {
        let node = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(node, kind);
        let directory = name.0;
        self.change_names(NameChange::Link { name, node }, vec![directory]);
        node
    }

    fn change_names(&mut self, change: NameChange, unsynced: Vec<NodeId>) {
        apply(&mut self.live, &change);
        let number = self.next_change();
        self.effects.push_back(NameEffect { number, change, unsynced });
    }

    fn fold(&mut self) {
        while self.effects.front().is_some_and(|effect| effect.unsynced.is_empty()) {
            if let Some(effect) = self.effects.pop_front() {
                apply(&mut self.base, &effect.change);
            }
        }
    }
}

fn apply(names: &mut Names, change: &NameChange) {
    match change {
        NameChange::Link { name, node } => {
            names.insert(name.clone(), *node);
        }
        NameChange::Unlink { name, node } => {
            if names.get(name) == Some(node) {
                names.remove(name);
            }
        }
        NameChange::Rename { from, to, node } => {
            if names.get(from) == Some(node) {
                names.remove(from);
            }
            names.insert(to.clone(), *node);
        }
    }
}

fn components(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned());
            }
            Component::ParentDir | Component::Prefix(_) => return Err(io::ErrorKind::InvalidInput.into()),
        }
    }
    Ok(names)
}
