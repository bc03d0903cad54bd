// What scrolls sideways can be reached with the keyboard.
addEventListener("load", () => {
  for (const part of document.querySelectorAll("pre, .table-wrapper, .cell_output")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
  }
});
