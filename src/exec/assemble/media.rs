//! The images and files of a run: which observations show them, and the texts for those that were not uploaded.

use opentelemetry_proto::tonic::trace::v1::Span;

use super::Assembly;
use crate::exec::assemble::index::Shower;
use crate::exec::attributes::for_each_text;
use crate::exec::media_upload::ShownMedia;
use crate::langfuse::media::Owner;

impl Assembly {
    /// The images and files that observations show.
    pub(super) fn media(&self) -> Vec<ShownMedia> {
        let media = self.index.media.values().map(|media| {
            let places = media.shown.iter().filter_map(|(shower, field)| {
                let owner = Owner {
                    trace_id: self.context.trace_id.to_string(),
                    observation_id: format!("{:016x}", self.observation(*shower)?),
                };
                Some((owner, *field))
            });
            let mut distinct = Vec::new();
            for place in places {
                if !distinct.contains(&place) {
                    distinct.push(place);
                }
            }
            ShownMedia {
                at: media.at,
                reference: media.reference.clone(),
                placeholder: media.placeholder.clone(),
                places: distinct,
            }
        });
        media.filter(|media| !media.places.is_empty()).collect()
    }

    /// The id of the observation of a record; `None` for an attempt that another one followed.
    fn observation(&self, shower: Shower) -> Option<u64> {
        let place = match shower {
            Shower::Span(place) => place,
            Shower::Call(call) => {
                let mut chains = self.chains.iter();
                let chain = chains.find(|chain| chain.last() == call)?;
                let Some(span) = chain.span else {
                    let id = self.generation_id(self.index.calls[call].number);
                    return Some(u64::from_be_bytes(id));
                };
                self.index.model_calls[span].1
            }
        };
        Some(self.index.tree.nodes[place].new_id)
    }

    /// Puts texts in the place of references to what was not uploaded.
    pub(super) fn apply_media(&self, span: &mut Span) {
        if self.media_texts.is_empty() {
            return;
        }
        let events = span.events.iter_mut().map(|event| &mut event.attributes);
        for attributes in events.chain([&mut span.attributes]) {
            for_each_text(attributes, &mut |_, text| {
                if let Some(changed) = self.media_texts.applied_to(text) {
                    *text = changed;
                }
            });
        }
    }
}
