//! Asks one API in one version: about a topic that is not there, about nothing, about a topic that is there.

use ringmain_protocol::{ApiKey, Request, Str, Uuid, Writer};

use crate::broker::Connection;

/// A topic as requests name it: by name in older versions, by id in newer ones.
#[derive(Clone)]
pub(crate) struct Topic {
    /// Its name.
    pub(crate) name: Str,
    /// Its id.
    pub(crate) id: Uuid,
}

/// Asks one API in one version.
pub(crate) struct Asker<'a> {
    /// Where the requests go.
    pub(crate) connection: &'a mut Connection,
    /// Which API.
    pub(crate) key: ApiKey,
    /// In which version.
    pub(crate) version: i16,
    /// A topic of two partitions with a record in the first.
    pub(crate) existing: Topic,
    /// A topic that is not there.
    pub(crate) unknown: Topic,
}

impl Asker<'_> {
    /// `about` gives the forms a request has over the versions; the first that this version can carry is
    /// sent. `error` finds the error code in the answer about the topic that is there, which must be none.
    pub(crate) fn ask<R: Request, const FORMS: usize>(
        &mut self,
        about: impl Fn(&Topic) -> [R; FORMS],
        nothing: R,
        error: impl Fn(R::Response) -> i16,
    ) {
        let (existing, unknown) = (self.existing.clone(), self.unknown.clone());
        self.send("an unknown topic", about(&unknown));
        self.send("nothing", [nothing]);
        let answer = self.send("a topic", about(&existing));
        assert_eq!(error(answer), 0, "{} version {}", R::NAME, self.version);
    }

    fn send<R: Request>(&mut self, what: &str, forms: impl IntoIterator<Item = R>) -> R::Response {
        let version = self.version;
        let writable = |form: &R| form.write(&mut Writer::new(), version).is_ok();
        let form = forms.into_iter().find(writable);
        let form = form.unwrap_or_else(|| panic!("{} version {version}: no form of {what}", R::NAME));
        let answer = self.connection.ask(&form, version);
        answer.unwrap_or_else(|error| panic!("{} version {version} about {what}: {error}", R::NAME))
    }
}
