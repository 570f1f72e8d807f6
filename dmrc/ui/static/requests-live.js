// What happens now, from the daemon's event stream. Rows change once a frame, however many events come.

const MOST_WAITING = 400;

/** Listens. `on`: `connected(data)`, `rows(list)`, `progress(counts)`, `lost()`; the last three come in a frame. */
export class LiveRows {
  constructor(on) {
    this.on = on;
    this.source = null;
    this.frame = 0;
    this.forget();
  }

  forget() {
    this.rows = new Map();
    this.counts = null;
  }

  /** Listen for what the filters show; `seen` says which rows the page has. */
  listen(filters, seen) {
    this.close();
    const source = new EventSource(`/ui/events?${new URLSearchParams([...filters, ["seen", seen]])}`);
    this.source = source;
    source.addEventListener("connected", (event) => this.on.connected(JSON.parse(event.data)));
    const take = (event) => {
      const row = JSON.parse(event.data);
      this.rows.delete(row.id); // what came last is put last
      this.rows.set(row.id, { ...row, isNew: event.type === "started" });
      if (this.rows.size > MOST_WAITING) this.again(filters); // the page is hidden, and no frame comes
      else this.later();
    };
    source.addEventListener("started", take);
    source.addEventListener("completed", take);
    source.addEventListener("progress", (event) => { this.counts = JSON.parse(event.data); this.later(); });
    source.addEventListener("missed", () => this.again(filters));
    source.addEventListener("error", () => this.on.lost());
  }

  again(filters) {
    this.listen(filters, "");
  }

  later() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const { rows, counts } = this;
      this.forget();
      if (rows.size) this.on.rows([...rows.values()]);
      if (counts) this.on.progress(counts);
    });
  }

  close() {
    this.source?.close();
    this.source = null;
    this.forget();
  }
}
