/* The page of `rgt compare`. */
(() => {
  const { scenes } = JSON.parse(document.getElementById("data").textContent);
  for (const scene of scenes) {
    const has = (key) => scene.views.some((view) => view.facts[key] !== undefined);
    scene.columns = [
      { key: "seconds", title: "Time", digits: 2 },
      { key: "psnr", title: "PSNR, dB", digits: 2, best: true },
      { key: "ssim", title: "SSIM", digits: 4, best: true },
    ].filter((column) => has(column.key));
    for (const view of scene.views) {
      const { seconds, psnr, ssim } = view.facts;
      view.details = [
        pixels(view.size),
        seconds === undefined ? null : duration(seconds),
        psnr === undefined ? null : `${psnr.toFixed(2)} dB, SSIM ${ssim.toFixed(4)}`,
      ].filter(Boolean).join(", ");
    }
  }
  new Viewer(document.querySelector(".viewer")).open(scenes);
})();
