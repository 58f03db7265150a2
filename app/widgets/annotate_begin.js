// What stands in place of a subject that is judged: what to do first, who annotates, an image in which nobody has looked yet.
//   const begin = studio.annotationBegin({ element, ask, words, arrive, queue, still, left, named })
//   begin.message(title, text, …), begin.preparing(job), begin.choose(answer), begin.introduce(), begin.unproposed(image)
// ask(work, sent) → answer or an error, words(error) its sentence; arrive() goes on to whatever is next, queue() to the queue;
// still() → whether what it is asked for is still awaited, later; left() hears that no subject is shown, named(name) who it is.
studio.annotationBegin = ({ element, ask, words, arrive, queue, still, left, named }) => {
  const { h } = studio;
  const wait = (time) => new Promise((done) => setTimeout(done, time));
  const bar = (fraction) => h("progress", fraction === null ? { "aria-label": "Progress" } : { max: 1, value: fraction, "aria-label": "Progress" });
  const trouble = (text) => (text ? h("p.trouble", { role: "alert" }, text) : null);

  function message(title, text, ...more) {
    left();
    element.replaceChildren(h("div.empty", {}, h("h2", {}, title), h("p", {}, text), ...more.filter(Boolean)));
  }

  // Where proposals can come from: "data" where there are some, and the "model".
  function sources(texts, take) {
    return h("div.sources", {}, Object.entries(texts).filter(([, text]) => text).map(([source, text]) => h("button.source", { type: "button", onclick: () => take(source) },
      h("strong", {}, source === "data" ? "From the data" : "By the model"), h("span", {}, text))));
  }

  function preparing({ message: text, fraction }) {
    const here = still();
    const stop = h("button.main", { type: "button", onclick: () => { stop.disabled = true; ask("prepare", { stop: true }).catch(() => {}); } }, "Stop, and use what was found");
    message("The queue is being filled", text, bar(fraction), fraction === null ? null : h("p", {}, stop));
    setTimeout(() => here() && arrive(), 700);
  }

  function choose({ empty, failed }) {
    const take = async (source) => {
      const here = still();
      try { preparing((await ask("prepare", { source })).preparing); } catch (error) { message("That did not work", words(error)); setTimeout(() => here() && arrive(), 3000); }
    };
    message("No subjects are proposed yet", "An annotator goes through proposed subjects, a phrase and a region each: accept, fix or reject. Where shall they come from?", trouble(failed?.message),
      sources({ data: empty.subjects && "The subjects that the data of this gallery names", model: "The subjects that the salience pipeline finds for the captions, image by image" }, take));
  }

  function introduce() {
    const field = h("input", { type: "text", placeholder: "Your name", maxlength: 40, "aria-label": "Your name", autocomplete: "nickname" });
    message("Who annotates?", "Decisions carry their author's name, and several people can work at once.",
      h("form.name", { onsubmit: (event) => { event.preventDefault(); named(field.value.trim()); } }, field, h("button.main", {}, "Start")));
    field.focus();
  }

  // An image that was asked for, and of which the queue has nothing: {image, name, caption, thumb, subjects}.
  function unproposed(image, failed = "") {
    const take = async (source) => {
      const here = still();
      try {
        let now = (await ask("prepare", { source, image: image.image })).preparing;
        for (; here() && now.phase === "running"; now = (await ask("prepare", { look: true })).preparing) {
          message("Looking for subjects in this image", now.message, bar(now.fraction));
          await wait(400);
        }
        if (here()) now.phase === "failed" ? unproposed(image, now.message) : arrive();
      } catch (error) {
        if (here()) unproposed(image, words(error));
      }
    };
    message("Nothing is proposed for this image yet", "Have its subjects proposed first; then judge them, and draw what is missing.", h("img.asked", { src: image.thumb, alt: image.caption || image.name }), trouble(failed),
      sources({ data: image.subjects && "The subjects that the data names in this image", model: "What the salience pipeline finds in it. Where that is nothing, you can draw a subject." }, take), back());
  }
  const back = () => h("p", {}, h("button.link", { type: "button", onclick: queue }, "Go to the queue instead"));

  return { message, preparing, choose, introduce, unproposed, back };
};
