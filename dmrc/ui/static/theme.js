// Before the first paint, so that a chosen theme does not flash the other one. Without a choice the system's is used.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* a browser that keeps nothing follows the system */ }
