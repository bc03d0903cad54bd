"use strict";
// The arithmetic of the page. `helpers.evaluation` says the same in Python; a test compares them.

/** What becomes of the images when p >= threshold is called pneumonia; ill: booleans, p: 0-1. */
function outcomes(ill, p, threshold) {
  const counts = { found: 0, missed: 0, cleared: 0, alarms: 0 };
  ill.forEach((isIll, i) => {
    const called = p[i] >= threshold;
    counts[isIll ? (called ? "found" : "missed") : called ? "alarms" : "cleared"] += 1;
  });
  return counts;
}

/** Shares of the images, 0-1, from their `outcomes`. */
function rates({ found, missed, cleared, alarms }) {
  return {
    accuracy: (found + cleared) / (found + missed + cleared + alarms),
    recall: found / (found + missed),
    specificity: cleared / (cleared + alarms),
  };
}

/** A probability that holds where a share `here` is ill, changed to where a share `there` is. */
function atPrevalence(p, there, here) {
  const change = ((there / (1 - there)) * (1 - here)) / here;
  return (p * change) / (p * change + (1 - p));
}

/** What a call is worth where a share `prevalence` (0-1) is ill; NaN where nothing is called so. */
function predictiveValues({ recall, specificity }, prevalence) {
  const found = prevalence * recall, alarms = (1 - prevalence) * (1 - specificity);
  const cleared = (1 - prevalence) * specificity, missed = prevalence * (1 - recall);
  return { ppv: found / (found + alarms), npv: cleared / (cleared + missed) };
}

/** Rightly treated children per child, less the needlessly treated at the exchange t / (1 - t). */
function netBenefit({ recall, specificity }, prevalence, t) {
  const harm = ((1 - prevalence) * t) / (1 - t);
  return { model: prevalence * recall - harm * (1 - specificity), all: prevalence - harm };
}

/** The place of a threshold among increasing cuts: thresholds between two cuts call the same. */
function place(cuts, threshold) {
  const index = cuts.findIndex((cut) => cut >= threshold);
  return index < 0 ? cuts.length : index;
}
