/** Two soft notes for a new answer; off until somebody turns it on, since a page that makes noise by itself is closed. */
let context: AudioContext | undefined;

export function blip(): void {
  try {
    context ??= new AudioContext();
    void context.resume();
    const start = context.currentTime;
    [660, 880].forEach((frequency, index) => {
      const at = start + index * 0.09;
      const tone = context?.createOscillator();
      const gain = context?.createGain();
      if (!tone || !gain || !context) return;
      tone.frequency.value = frequency;
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(0.07, at + 0.015);
      gain.gain.exponentialRampToValueAtTime(0.0001, at + 0.22);
      tone.connect(gain).connect(context.destination);
      tone.start(at);
      tone.stop(at + 0.25);
    });
  } catch {
    // No sound device, or not allowed: the answer is on the screen all the same.
  }
}
