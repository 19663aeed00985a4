// A browser starts no worker for a page that was opened from a folder. An invisible frame does the
// work of the search then; for pages from a server the browser's own workers stay.
// The name of this file in the site holds "iframe-worker", for which the theme looks.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = (this.frame = document.createElement("iframe"));
      frame.hidden = true;
      frame.srcdoc =
        `<base href="${location.href}"><script>` +
        "self.importScripts = (...urls) => urls.forEach((url) => document.write(" +
        '`<script src="${new URL(url, SCRIPT)}"></` + "script>"));' +
        `const SCRIPT = "${new URL(url, location.href)}";` +
        'const up = parent; self.postMessage = (data) => up.postMessage({ fromFrame: true, data }, "*");' +
        "</" + `script><script src="${new URL(url, location.href)}"></` + "script>";
      window.addEventListener("message", (event) => {
        if (event.source !== frame.contentWindow || !event.data.fromFrame) return;
        const message = new MessageEvent("message", { data: event.data.data });
        this.dispatchEvent(message);
        if (this.onmessage) this.onmessage(message);
      });
      frame.addEventListener("load", () => {
        this.ready = true;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
      document.body.append(frame);
    }
    postMessage(data) {
      if (!this.ready) this.waiting.push(data);
      else
        this.frame.contentWindow.dispatchEvent
          ? this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
          : this.frame.contentWindow.window.postMessage(data, "*");
    }
    terminate() {
      this.frame.remove();
    }
  };
}
