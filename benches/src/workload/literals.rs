//! Literals that match in any case: what a company lists as confidential. The first 300 are real words, the rest are made of
//! syllables as trade names are.

use crate::rng::Rng;
use std::collections::HashSet;

/// The first `count` literals, all different, each of at least six bytes.
pub(super) fn words(count: usize) -> Vec<String> {
    let mut words: Vec<String> =
        [MEDICINES, CONDITIONS, MARKINGS].iter().flat_map(|list| list.split(", ")).map(str::to_owned).collect();
    words.extend(code_names());
    // A small workload has words of every kind.
    let mut rng = Rng::named("literals");
    for at in (1..words.len()).rev() {
        words.swap(at, rng.below(at + 1));
    }
    let mut known: HashSet<String> = words.iter().cloned().collect();
    while words.len() < count {
        let word = trade_name(&mut rng);
        if known.insert(word.clone()) {
            words.push(word);
        }
    }
    words.truncate(count);
    words
}

fn code_names() -> impl Iterator<Item = String> {
    const FIRST: &str = "amber, cobalt, crimson, golden, hidden, ivory, midnight, northern, silver, velvet";
    const SECOND: &str = "falcon, harbor, lantern, meridian, orchid, pelican, quarry, sextant, tundra, willow";
    FIRST.split(", ").flat_map(|first| SECOND.split(", ").map(move |second| format!("{first} {second}")))
}

fn trade_name(rng: &mut Rng) -> String {
    const SYLLABLES: &[&str] = &[
        "ba", "cel", "dox", "du", "fen", "flo", "gli", "hex", "iva", "jen", "kra", "lex", "lu", "mab", "mir", "nu",
        "ola", "pra", "quel", "rin", "sol", "tra", "ume", "vex", "wen", "xal", "yor", "zan", "bri", "cor", "dyn",
        "epi",
    ];
    const ENDS: &[&str] = &["mab", "nib", "pril", "statin", "xaban", "zole", "tide", "vir", "xin", "dryl"];
    let syllables = rng.between(2, 3);
    let mut word: String = (0..syllables).map(|_| rng.pick(SYLLABLES)).collect();
    word.push_str(rng.pick(ENDS));
    word
}

const MEDICINES: &str = "abatacept, acyclovir, adalimumab, alendronate, allopurinol, alprazolam, amiodarone, amitriptyline, \
    amlodipine, amoxicillin, apixaban, aripiprazole, atenolol, atorvastatin, azathioprine, baclofen, bisoprolol, buprenorphine, \
    bupropion, candesartan, carbamazepine, carvedilol, cetirizine, ciprofloxacin, citalopram, clonazepam, clopidogrel, clozapine, \
    dabigatran, dexamethasone, diazepam, diclofenac, diltiazem, donepezil, doxycycline, duloxetine, empagliflozin, enalapril, \
    escitalopram, esomeprazole, etanercept, ezetimibe, fentanyl, finasteride, fluconazole, fluoxetine, furosemide, gabapentin, \
    glimepiride, haloperidol, hydroxychloroquine, ibuprofen, infliximab, ketoconazole, lamotrigine, lansoprazole, levetiracetam, \
    levothyroxine, lisinopril, lorazepam, losartan, memantine, metformin, methadone, methotrexate, metoprolol, mirtazapine, \
    montelukast, naltrexone, naproxen, olanzapine, omeprazole, oxycodone, pantoprazole, paroxetine, pregabalin, quetiapine, \
    ramipril, risperidone, ritonavir, rivaroxaban, rosuvastatin, semaglutide, sertraline, sildenafil, simvastatin, sitagliptin, \
    spironolactone, sumatriptan, tamoxifen, tamsulosin, tenofovir, topiramate, tramadol, trazodone, valsartan, venlafaxine, \
    verapamil, warfarin, zolpidem";

const CONDITIONS: &str = "alzheimer, anaphylaxis, angina pectoris, anorexia, arrhythmia, asthma attack, atrial fibrillation, \
    bipolar disorder, bronchitis, carcinoma, cardiomyopathy, chlamydia, cirrhosis, colitis, crohn's disease, cystic fibrosis, \
    dementia, dermatitis, diabetes mellitus, diverticulitis, eczema flare, emphysema, encephalitis, endometriosis, epilepsy, \
    fibromyalgia, gastritis, glaucoma, gonorrhea, haemophilia, hepatitis, herpes zoster, hiv positive, huntington, hypertension, \
    hyperthyroid, hypoglycemia, insomnia, leukaemia, lupus erythematosus, lymphoma, melanoma, meningitis, migraine, \
    multiple sclerosis, myocardial infarction, narcolepsy, nephropathy, neuropathy, osteoporosis, pancreatitis, parkinson, \
    pneumonia, polycystic ovary, psoriasis, pulmonary embolism, retinopathy, rheumatoid, schizophrenia, sciatica, \
    sickle cell, sleep apnoea, substance abuse, syphilis, tachycardia, thrombosis, tuberculosis";

const MARKINGS: &str = "attorney work product, board minutes only, commercially sensitive, company confidential, \
    confidential draft, counsel eyes only, disciplinary hearing, do not distribute, do not forward, embargoed until, \
    export controlled, for internal use only, highly confidential, insider list, internal memo, itar restricted, \
    legally privileged, litigation hold, medical record, merger agreement, need to know, nato secret, not for release, \
    personnel file, proprietary information, redundancy list, salary band, strictly confidential, severance package, \
    takeover bid, top secret, trade secret, under embargo";
