//! What every span of a run gets: whose it is, and the attributes of the trace.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::Assembly;
use crate::exec::attributes::{has, set, set_text};
use crate::exec::identity::Identity;
use crate::trace::attributes::langfuse;

impl Assembly {
    pub(super) fn identity_of(&self, place: usize) -> Identity {
        self.own_identity(place)
            .or(&self.inherited(Some(place)))
            .or_only(&self.index.occurring)
    }

    /// The identity of a span that says nothing of itself, below another.
    pub(super) fn identity_below(&self, parent: Option<usize>) -> Identity {
        let own = parent.map(|parent| self.own_identity(parent));
        own.unwrap_or_default()
            .or(&self.inherited(parent))
            .or_only(&self.index.occurring)
    }

    fn own_identity(&self, place: usize) -> Identity {
        let number = self.index.tree.nodes[place].identity;
        let identity = number.and_then(|number| self.index.identities.get(number));
        identity.cloned().unwrap_or_default()
    }

    /// What a span gets from the spans above it and the options.
    fn inherited(&self, place: Option<usize>) -> Identity {
        let above = place
            .into_iter()
            .flat_map(|place| self.index.tree.ancestors(place));
        let identity = above.fold(Identity::default(), |identity, place| {
            identity.or(&self.own_identity(place))
        });
        identity.or(&self.run.identity)
    }

    /// The attributes that every span of the run has.
    pub(super) fn stamp(&self, attributes: &mut Vec<KeyValue>, identity: &Identity) {
        identity.stamp(attributes, self.dialect);
        set_text(attributes, langfuse::TRACE_NAME, self.trace.name());
        for (key, value) in &self.trace.metadata {
            let key = format!("{}.{key}", langfuse::TRACE_METADATA);
            if !has(attributes, &key) {
                set_text(attributes, &key, value.as_str());
            }
        }
        if let Some(version) = &self.trace.version
            && !has(attributes, langfuse::VERSION)
        {
            set_text(attributes, langfuse::VERSION, version.as_str());
        }
        if self.trace.public {
            set(attributes, langfuse::TRACE_PUBLIC, Value::BoolValue(true));
        }
    }
}
