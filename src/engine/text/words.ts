// Word lists: what the built-in tokenizer knows as single tokens and what the filler text is made of. Data only. Order
// is meaning: a word's place is its token id, so words may be appended to `common` and never moved.

const list = (text: string): readonly string[] => text.trim().split(/\s+/);

export const nouns = list(`
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power hour
game line end member law car city community name president team minute idea body information back parent face others
level office door health person art war history party result change morning reason research girl guy moment air teacher
force education river mountain garden window street forest island harbor bridge engine signal model letter market winter
summer season shadow light stone field road train station captain sailor machine clock paper table silence answer voice
music song picture color dream journey village king queen castle ship storm wind rain snow fire smoke bird horse dog cat
fish tree flower leaf root seed bread salt sugar coffee tea wine glass bottle kitchen lamp mirror key coin map compass
request token block cache router server memory network packet queue worker process thread kernel buffer stream`);

export const verbs = list(`
finds keeps makes takes sees gives tells asks brings holds leaves moves opens turns needs shows builds carries follows
remembers watches crosses answers measures reads writes sends serves learns guards paints plants repairs gathers counts
changes divides joins lifts shares explains describes imagines`);

export const adjectives = list(`
good new first last long great little own other old different small large next early young important few public bad same
able quiet bright dark warm cold gentle heavy narrow broad distant patient careful honest clever simple ancient golden
silver hidden open steady slow quick deep calm green blue red white black empty full clear`);

export const adverbs = list(`
slowly quickly carefully often always never sometimes gently quietly again together today tomorrow yesterday almost
already finally usually clearly`);

/** Words that glue sentences; their place matters to the filler as well. */
export const glue = list(`
the of and a to in is that it for was on are with as at be this have from or had by but not what all were we when your
can said there use an each which she do how their if will up about out many then them these so some her would him into
has two more very after most also made over did down only way find long than been its who now people my under every near
between because while before where through against without behind around hello world please user assistant system you
he I they me his`);

/** Code and prose fragments that a real vocabulary holds as one token. */
export const fragments = list(`
ing tion ment ness able ence ance ally ical ious ated ting ions ings ized less ward ship hood fully http https www com
org json html function return const import export class string number boolean null true false async await def self print
data value index error message content model prompt role type name key text stream max_tokens temperature`);
