//! The input files of a batch: each request is found by its `custom_id`. Only digests and offsets are in memory, 16 bytes
//! for each line.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::app::jsonl::JsonFile;
use crate::failure::Failure;
use crate::json;
use crate::model::{Request, dialect};
use crate::trace::ids::digest64;
use crate::trace::recording::RecordedTrace;

/// How many bits of a place are the offset.
const OFFSET_BITS: u32 = 48;
/// The highest bit of a place: whether an output was found for it.
const ANSWERED: u64 = 1 << 63;
/// The most files: their number has the bits between.
const MOST_FILES: usize = 1 << (63 - OFFSET_BITS);

/// The requests of all input files.
#[derive(Debug)]
pub struct RequestIndex {
    files: Vec<JsonFile>,
    /// Digest and place of each line, sorted by digest.
    places: Vec<(u64, u64)>,
}

/// One request.
#[derive(Debug)]
pub struct BatchRequest {
    pub custom_id: String,
    pub request: Request,
    pub trace: RecordedTrace,
}

/// The fields of OpenAI's lines, and `params` of Anthropic's.
#[derive(Deserialize)]
struct RequestShape<'a> {
    custom_id: Option<Value>,
    url: Option<Value>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    trace: Option<RecordedTrace>,
}

impl RequestIndex {
    /// Reads all input files; every line is checked.
    ///
    /// # Errors
    /// If a file cannot be read, a line is not a request, or two lines have the same `custom_id`.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        if paths.len() > MOST_FILES {
            return Err(Failure::usage("there are too many files").hint("join them, as with cat"));
        }
        let mut files = Vec::new();
        let mut places = Vec::new();
        for (path, number) in paths.iter().zip(0_u64..) {
            let file = JsonFile::open(path)?.seekable()?;
            let mut lines = file.lines();
            while let Some(line) = lines.next_line().map_err(|error| file.unreadable(&error))? {
                let request = BatchRequest::parse(&line.bytes).map_err(|wrong| {
                    let name = path.display();
                    Failure::input(format!("{name}, line {}: {wrong}", line.number)).hint(
                        "expected the input of a batch: {\"custom_id\", \"method\", \"url\", \"body\"} or {\"custom_id\", \"params\"}",
                    )
                })?;
                places.push((
                    digest64(&request.custom_id),
                    number << OFFSET_BITS | line.offset,
                ));
            }
            drop(lines);
            files.push(file);
        }
        places.sort_unstable();
        let index = Self { files, places };
        index.refuse_repetition()?;
        Ok(index)
    }

    fn refuse_repetition(&self) -> Result<(), Failure> {
        let repeated = self.places.windows(2).find(|pair| pair[0].0 == pair[1].0);
        let Some(pair) = repeated else {
            return Ok(());
        };
        let id = self.request_at(pair[1].1)?.custom_id;
        Err(
            Failure::input(format!("two input lines have the custom_id `{id}`"))
                .hint("give the files of one batch at a time"),
        )
    }

    /// The request of an output.
    ///
    /// # Errors
    /// If an input file cannot be read again.
    pub fn find(&self, custom_id: &str) -> Result<Option<BatchRequest>, Failure> {
        let Some(place) = self.place(custom_id) else {
            return Ok(None);
        };
        let request = self.request_at(self.places[place].1)?;
        Ok(Some(request).filter(|request| request.custom_id == custom_id))
    }

    /// Notes that there is an output; returns whether there is a request for it.
    pub fn mark_answered(&mut self, custom_id: &str) -> bool {
        let place = self.place(custom_id);
        if let Some(place) = place {
            self.places[place].1 |= ANSWERED;
        }
        place.is_some()
    }

    /// How many requests have no output, and the first `most` of them: file, line, `custom_id`.
    ///
    /// # Errors
    /// If an input file cannot be read again.
    pub fn unanswered(&self, most: usize) -> Result<(usize, Vec<String>), Failure> {
        let is_open = |place: u64| place & ANSWERED == 0;
        let count = self
            .places
            .iter()
            .filter(|(_, place)| is_open(*place))
            .count();
        let mut named = Vec::new();
        'files: for file in self.files.iter().filter(|_| count > 0) {
            let mut lines = file.lines();
            while let Some(line) = lines.next_line().map_err(|error| file.unreadable(&error))? {
                if named.len() == most.min(count) {
                    break 'files;
                }
                let id = custom_id(&line.bytes).unwrap_or_default();
                if self
                    .place(&id)
                    .is_some_and(|place| is_open(self.places[place].1))
                {
                    let name = file.path.display();
                    named.push(format!("{name}, line {} (`{id}`)", line.number));
                }
            }
        }
        Ok((count, named))
    }

    fn place(&self, custom_id: &str) -> Option<usize> {
        let key = digest64(custom_id);
        self.places.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    fn request_at(&self, place: u64) -> Result<BatchRequest, Failure> {
        let place = place & !ANSWERED;
        let number = usize::try_from(place >> OFFSET_BITS).unwrap_or_default();
        let offset = place & ((1 << OFFSET_BITS) - 1);
        let file = &self.files[number];
        let line = file
            .line_at(offset)
            .map_err(|error| file.unreadable(&error))?;
        BatchRequest::parse(&line).map_err(|wrong| {
            let name = file.path.display();
            Failure::file(format!("{name} changed while it was read: {wrong}"))
                .hint("run the command again")
        })
    }
}

fn custom_id(line: &[u8]) -> Option<String> {
    let shape: RequestShape<'_> = json::from_slice(line).ok()?;
    shape.custom_id?.as_str().map(str::to_owned)
}

impl BatchRequest {
    /// Reads a line.
    ///
    /// # Errors
    /// One line that says what is wrong.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let in_line = |error: serde_json::Error| {
            error
                .to_string()
                .replace(" at line 1 column ", " at column ")
        };
        let shape: RequestShape<'_> = json::from_slice(line).map_err(in_line)?;
        let Some(Value::String(custom_id)) = shape.custom_id else {
            return Err("there is no `custom_id`".to_owned());
        };
        let fields = |body: &RawValue| serde_json::from_str(body.get()).map_err(in_line);
        let request = match (shape.body, shape.params) {
            (Some(body), None) => Request::of_body(fields(body)?, shape.url.as_ref(), None)?,
            // Only Anthropic's lines have this field.
            (None, Some(params)) => {
                let request = Request::default().with_fields(fields(params)?);
                let request = request.in_dialect(dialect::MESSAGES);
                request.validate()?;
                request
            }
            _ => return Err("expected `body` or `params`".to_owned()),
        };
        Ok(Self {
            custom_id,
            request,
            trace: shape.trace.unwrap_or_default(),
        })
    }
}
