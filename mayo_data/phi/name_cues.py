"""What points at a name: titles, labels, kin, greetings, degrees, and the words that end a name."""

# ruff: noqa: E501

from __future__ import annotations

import re

from mayo_data.phi.places import UPPER

W = r"[^\W\d_](?:[^\W\d_]|['’\-](?=[^\W\d_])){0,30}"
PARTICLE = (
    "(?:de|del|della|de la|de los|van|van der|van den|von|der|den|di|da|dos|du|la|le|el|al|bin|ibn|st\\.|st|ter|o')"
)
# Up to four words of a name; what is no name is cut off afterwards.
NAME = re.compile(
    rf"{W}\.?(?:(?:[ \t]{{1,2}}|-?[ \t]?\n[ \t]{{0,4}}(?=[{UPPER}]))(?:[\"“(][^\W\d_]{{2,14}}[\"”)][ \t])?(?:{PARTICLE}[ \t])?{W}\.?){{0,3}}"
)
NAME_COMMA = re.compile(rf"(?:{PARTICLE}[ \t])?{W}(?:[ ]{W})?,[ \t]{{0,2}}{W}(?:[ \t]{{1,2}}{W}\.?){{0,2}}")
PIECE = re.compile(rf"{W}")
PARTICLES = frozenset(
    [
        "de",
        "del",
        "della",
        "la",
        "los",
        "van",
        "der",
        "den",
        "von",
        "di",
        "da",
        "dos",
        "du",
        "le",
        "el",
        "al",
        "bin",
        "ibn",
        "st",
        "ter",
    ]
)
TITLE = re.compile(
    r"(?:dr|drs|doctor|doctors|mr|mrs|ms|miss|mx|messrs|prof|professor|rev|reverend|fr|sr|sir|madam|sen|sgt|officer|deputy|detective|judge|atty|attorney|pastor|rabbi|chaplain|capt|captain|lt|cpl|nurse|midwife|sister|hon)"
    r"(?![a-z])\.?[ \t]{0,2}(?:\n[ \t]{0,4})?(?=[^\W\d_])"
)
TITLES = frozenset(
    [
        "dr",
        "drs",
        "doctor",
        "doctors",
        "mr",
        "mrs",
        "ms",
        "miss",
        "mx",
        "messrs",
        "prof",
        "professor",
        "rev",
        "reverend",
        "fr",
        "sr",
        "sir",
        "madam",
        "sen",
        "sgt",
        "officer",
        "deputy",
        "detective",
        "judge",
        "atty",
        "attorney",
        "pastor",
        "rabbi",
        "chaplain",
        "capt",
        "captain",
        "lt",
        "cpl",
        "nurse",
        "midwife",
        "sister",
        "hon",
    ]
)
SOFT_TITLES = frozenset(
    [
        "officer",
        "deputy",
        "detective",
        "judge",
        "attorney",
        "nurse",
        "sister",
        "captain",
        "fr",
        "sr",
        "sir",
        "lt",
        "hon",
        "doctor",
        "doctors",
        "midwife",
        "professor",
    ]
)
PATIENT_TITLES = frozenset(["mr", "mrs", "ms", "miss", "mx", "sir", "madam", "messrs"])


def _labels(text: str) -> str:
    items = sorted((" ".join(item.split()) for item in text.split("|")), key=len, reverse=True)
    return "|".join(re.escape(item).replace(r"\ ", r"\s") for item in items)


PATIENT_LABELS = (
    "patient|patient name|pt|pt name|name|client|client name|resident name|member name|legal name|preferred name|baby|infant|newborn|full name"
    "|last name|first name|middle name|surname|given name|name of patient|subject|insured|subscriber|policy holder|re|regarding|maiden name"
    "|alias|aka|decedent|student name|examinee|participant|nombre|paciente|cc patient"
)
STAFF_LABELS = (
    "attending|attending physician|physician|provider|pcp|primary care provider|primary care physician|primary|surgeon|surgeons|assistant"
    "|assistant surgeon|first assistant|consultant|consulting|consulting physician|referring|referring physician|referring provider|ordering"
    "|ordering physician|ordering provider|radiologist|pathologist|cardiologist|anesthesiologist|anesthesia|anesthetist|crna|nurse|rn|lpn|cna"
    "|np|pa|md|do|dds|dmd|fellow|intern|resident|resident physician|author|dictated by|dictating|dictator|signed by|signed|electronically signed by|e-signed by"
    "|esigned by|electronically signed|verified by|reviewed by|read by|interpreted by|reported by|transcribed by|transcriptionist|typed by|prepared by|entered by|written by"
    "|documented by|authored by|cosigned by|co-signed by|attested by|approved by|authenticated by|completed by|performed by|collected by|drawn by|administered by|given by|seen by"
    "|evaluated by|examined by|ordered by|referred by|accompanied by staff|scribe|scribed by|therapist|social worker|sw|lcsw|case manager|cm|care manager|care coordinator|coordinator"
    "|pharmacist|dietitian|technician|technologist|tech|sonographer|operator|endoscopist|proceduralist|hospitalist|intensivist|neurologist|oncologist"
    "|nephrologist|psychiatrist|psychologist|counselor|dentist|hygienist|optometrist|midwife|doula|supervisor|preceptor|witness|interpreter|ot|pt therapist"
    "|pulmonologist|gastroenterologist|urologist|dermatologist|ob|obgyn|obstetrician|pediatrician|internist|podiatrist|staff|cc|to|from|attn|sender|recipient"
    "|charge nurse|nurse practitioner|physician assistant|circulator|scrub|scrub tech|perfusionist|responsible provider|authorizing provider|prescriber|dispensed by|checked by"
    "|received by|called to|notified|discussed with|spoke with|per|paged|reported to|handoff to|report to|report given to|relieved by|clinician|practitioner|by|caller"
)
RELATIVE_LABELS = (
    "emergency contact|next of kin|nok|contact|contact person|contact name|spouse|guardian|legal guardian|poa|hcpoa|power of attorney|health care proxy|healthcare proxy|proxy|surrogate|hcp|caregiver"
    "|caretaker|mother|father|wife|husband|son|daughter|sister|brother|partner|parent|parents|responsible party|guarantor|informant|mom|dad|foster mother|foster father"
    "|grandmother|grandfather|aunt|uncle|cousin|niece|nephew|significant other|fiance|fiancee|friend|neighbor|roommate|father of baby|fob|mother's name|father's name|donor|historian|support person|landlord|employer contact|sponsor"
)
LABEL = re.compile(
    rf"(?:(?P<p>{_labels(PATIENT_LABELS)})|(?P<s>{_labels(STAFF_LABELS)})|(?P<r>{_labels(RELATIVE_LABELS)}))(?![a-z'’])"
    r"(?:\s?\([a-z ,/]{1,24}\))?(?:\sname)?(?:\s?[:=]|\s?\|)[ \t]{0,12}(?:\n[ \t]{0,4})?(?:(?:dr|mr|mrs|ms|miss|prof)\.?\s)?"
)
LABEL_WORDS = frozenset(
    re.match(r"[a-z]+", item.strip()).group()  # type: ignore[union-attr]
    for table in (PATIENT_LABELS, STAFF_LABELS, RELATIVE_LABELS)
    for item in table.split("|")
)
BY = re.compile(
    r"(?:(?:signed|dictated|reviewed|verified|interpreted|transcribed|typed|performed|read|authenticated|cosigned|co-signed|attested|approved|prepared|entered"
    r"|documented|evaluated|examined|administered|scribed|reported|written|authored|edited|assisted|obtained|witnessed|supervised|ordered|referred|followed|seen|placed|drawn|given|updated|completed|received|interviewed|called|taken|staffed)"
    r"\s(?:electronically\s)?by|(?:discussed|reviewed|spoke|d/w|case|staffed|conferred|talked|confirmed|met|talking|speaking|consulted|coordinated|verified)\sw(?:ith|/)|d/w|s/w|per|attn|cc|paged|notified|pcp|attending|surgeon|nurse|rn|np|pa-c|pa|cna|lpn|crna|lcsw|msw"
    r"|social\sworker|case\smanager|therapist|pharmacist|hospitalist|fellow|intern|resident|provider|cardiologist|oncologist|neurologist|nephrologist|psychiatrist|radiologist|pathologist|anesthesiologist|surgeons?|physician|chaplain|dietitian|coordinator|hygienist|midwife|interpreter|medic|paramedic|emt|scribe|tech)"
    r"(?![a-z])[:,]?[ \t]{1,3}(?:dr\.?\s|to\s)?"
)  # fmt: skip
BY_WORDS = frozenset(re.findall(r"[a-z]+", re.sub(r"\\s|\(\?[^)]{0,8}:?", " ", BY.pattern))) | {
    "d",
    "s",
    "w",
}
KIN = (
    "wife|husband|spouse|son|daughter|mother|father|mom|dad|mum|sister|brother|aunt|uncle|niece|nephew|cousin|grandmother|grandfather|grandson|granddaughter|grandma|grandpa"
    "|partner|girlfriend|boyfriend|fiance|fiancee|friend|neighbor|neighbour|roommate|caregiver|guardian|stepmother|stepfather|stepson|stepdaughter|stepdad|stepmom|son-in-law|daughter-in-law|mother-in-law|father-in-law"
    "|sister-in-law|brother-in-law|twin|child|kids|children|sons|daughters|ex-wife|ex-husband|widow|widower|sibling|aide|landlord|boss|coworker|co-worker|dog|cat|baby|infant|boy|girl|sitter|babysitter|teacher|sponsor"
)
RELATION = re.compile(
    rf"(?:{KIN})(?:['’]s\sname(?:\sis)?|,?\s(?:named|called)|\sis)?(?![a-z])\s?[,:(\-–]?[ \t]{{0,2}}(?:\n[ \t]{{0,4}})?(?=[^\W\d_])"
)
KIN_WORDS = frozenset(re.findall(r"[a-z]+", KIN))
NAMED = re.compile(
    r"(?:named|goes\sby|known\sas|a\.?k\.?a\.?|nicknamed|nee|née|formerly|named\safter|name\sis|prefers\sto\sbe\scalled|likes\sto\sbe\scalled|my\sname\sis|this\sis|i\sam|i'm|f/k/a|asks\sfor|asked\sfor|met\swith|patient|pt)[:,]?[ \t]{1,2}[\"'“]?"
)
NAMED_WORDS = frozenset(
    [
        "named",
        "goes",
        "known",
        "a",
        "aka",
        "nicknamed",
        "nee",
        "formerly",
        "name",
        "prefers",
        "likes",
        "my",
        "this",
        "i",
        "f",
        "asks",
        "asked",
        "met",
        "patient",
        "pt",
    ]
)
GREETING = re.compile(
    r"(?:dear|hi|hello|hey|thanks|thank\syou|many\sthanks|sincerely|sincerely\syours|regards|best|best\sregards|kind\sregards|warm\sregards|warmly|respectfully|respectfully\ssubmitted|yours\struly|cheers|good\s(?:morning|afternoon|evening)|love)"
    r"[,!]?[ \t]{0,3}(?:\n[ \t\n]{0,6})?(?:[-–—~][ \t]?)?(?:(?:dr|mr|mrs|ms|miss|prof)\.?[ \t])?(?=[^\W\d_])"
)
GREETING_WORDS = frozenset(
    [
        "dear",
        "hi",
        "hello",
        "hey",
        "thanks",
        "thank",
        "many",
        "sincerely",
        "regards",
        "best",
        "kind",
        "warm",
        "warmly",
        "respectfully",
        "yours",
        "cheers",
        "good",
        "love",
    ]
)
LINE_START = re.compile(r"(?:^|\n)[ \t>]{0,4}$")
DEGREE = re.compile(
    r"(?:M\.?D\.?|D\.?O\.?|R\.?N\.?|Ph\.?\s?D\.?|PharmD|Pharm\.D\.|DDS|DMD|DPM|DNP|NP-C|N\.?P\.?|PA-C|P\.?A\.?-?C?|APRN|ARNP|CRNP|CNP|FNP(?:-C|-BC)?|LPN|LVN|CNA|CRNA|CNM|BSN|MSN|LCSW(?:-C)?|LICSW|LMSW|MSW|LMFT|LPC"
    r"|OTR/?L?|OT|DPT|PT|RPh|RD|RDN|LDN|CCC-SLP|SLP|RRT|RT|MBBS|FACS|FACC|FACP|PsyD|EMT(?:-P)?|CMA|RMA|RDH|OD|AuD|MA|MPH|PGY-?\d|Esq|JD|MS\d|BCBA|CPNP|RNFA|CST|RDMS|RVT)(?![A-Za-z])"
)  # fmt: skip
DEGREE_WORDS = frozenset(
    [
        "m",
        "md",
        "d",
        "do",
        "r",
        "rn",
        "ph",
        "phd",
        "pharmd",
        "pharm",
        "dds",
        "dmd",
        "dpm",
        "dnp",
        "np",
        "n",
        "pa",
        "p",
        "aprn",
        "arnp",
        "crnp",
        "cnp",
        "fnp",
        "lpn",
        "lvn",
        "cna",
        "crna",
        "cnm",
        "bsn",
        "msn",
        "lcsw",
        "licsw",
        "lmsw",
        "msw",
        "lmft",
        "lpc",
        "otr",
        "ot",
        "dpt",
        "pt",
        "rph",
        "rd",
        "rdn",
        "ldn",
        "ccc",
        "slp",
        "rrt",
        "rt",
        "mbbs",
        "facs",
        "facc",
        "facp",
        "psyd",
        "emt",
        "cma",
        "rma",
        "rdh",
        "od",
        "aud",
        "ma",
        "mph",
        "pgy",
        "esq",
        "jd",
        "ms",
        "bcba",
        "cpnp",
        "rnfa",
        "cst",
        "rdms",
        "rvt",
    ]
)
BEFORE_DEGREE = re.compile(r",?[ \t]{1,2}\(?$")
BACK = re.compile(rf"(?:{W}\.?[ \t]{{1,2}}){{0,3}}(?:{PARTICLE}[ \t])?{W}\.?(?:,\s(?:Jr|Sr|II|III)\.?)?$")
HL7 = re.compile(
    r"(?m)(?<=[|^~&])(?P<v>[A-Za-z][A-Za-z'’-]{1,30}\^[A-Za-z][A-Za-z'’-]{0,30}(?:\^[A-Za-z][A-Za-z.]{0,20})?)(?=[|^~\r\n]|$)"
)
ACTORS = frozenset(
    [
        "dr",
        "will",
        "who",
        "is",
        "was",
        "has",
        "had",
        "and",
        "or",
        "the",
        "of",
        "with",
        "in",
        "on",
        "for",
        "to",
        "he",
        "she",
        "they",
        "said",
        "says",
        "seen",
    ]
)
STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "him",
        "his",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "note",
        "of",
        "off",
        "on",
        "or",
        "our",
        "out",
        "per",
        "she",
        "should",
        "so",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "until",
        "was",
        "we",
        "were",
        "when",
        "where",
        "which",
        "who",
        "will",
        "with",
        "would",
        "you",
        "your",
        "unknown",
        "none",
        "self",
        "same",
        "n",
        "na",
        "yes",
        "denies",
        "reports",
        "states",
        "says",
        "said",
        "via",
        "status",
    ]
)
POSSESSIVE = re.compile(r"'s")
SUFFIX = frozenset(["jr", "sr", "ii", "iii", "iv"])
