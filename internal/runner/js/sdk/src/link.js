// The Link response header (RFC 8288), as far as finding one relation needs it.

/**
 * @param {string | undefined} header e.g. `<https://api.example.com/x?page=2>; rel="next", <…>; rel="last"`
 * @param {string} rel relation wanted; a link may carry several, separated by spaces
 * @returns {string | undefined} the target, as written
 */
export function linkTarget(header, rel) {
    if (!header) return undefined;
    const wanted = rel.toLowerCase();
    // Targets are in angle brackets and may hold commas and semicolons, so links are found by their brackets.
    for (const [, target, params] of header.matchAll(/<([^>]*)>((?:[^<"]|"[^"]*")*)/g)) {
        const match = /(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,]+))/i.exec(params);
        const rels = (match?.[1] ?? match?.[2] ?? '').toLowerCase().split(/\s+/);
        if (rels.includes(wanted)) return target.trim();
    }
    return undefined;
}
