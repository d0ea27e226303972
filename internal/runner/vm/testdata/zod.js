// Each line that is no comment is an expression about zod; its value as JSON must be what the npm package gives in Node 20
// (zod.golden, written by surface.mjs). "issues(r)" lists code, path and message of a failed safeParse.
Object.keys(zod).sort().join(' ')
Object.keys(z.core).sort().join(' ')
[Object.keys(z.util).sort().join(' '), Object.keys(z.regexes).sort().join(' '), Object.keys(z.iso).sort().join(' '), Object.keys(z.coerce).sort().join(' ')]
Object.keys(z.core.util).length === Object.keys(z.util).length && z.core.regexes.uuid.toString() === z.regexes.uuid.toString()
zod.default.string === z.string && zod.z.object === zod.object
z.object({ a: z.string(), b: z.number().optional(), c: z.array(z.boolean()).default([]) }).parse({ a: 'x', extra: 1 })
issues(z.object({ a: z.string(), b: z.number(), c: z.enum(['x', 'y']) }).safeParse({ a: 1, c: 'z' }))
issues(z.object({ n: z.object({ m: z.array(z.object({ id: z.int() })) }) }).safeParse({ n: { m: [{ id: 1 }, { id: 1.5 }, {}] } }))
z.object({ a: z.string() }).loose().parse({ a: 'x', extra: 1 })
z.object({ a: z.string() }).passthrough().parse({ a: 'x', extra: 1 })
issues(z.strictObject({ a: z.string() }).safeParse({ a: 'x', extra: 1 }))
z.object({ a: z.string(), b: z.number() }).partial().extend({ c: z.literal('c') }).pick({ a: true, c: true }).parse({ c: 'c' })
z.object({ a: z.string() }).merge(z.object({ b: z.number() })).omit({ a: true }).parse({ b: 1 })
z.object({ a: z.string() }).catchall(z.number()).safeParse({ a: 'x', b: 'y' }).success
Object.keys(z.object({ a: z.string(), b: z.number() }).shape)
z.union([z.string(), z.number()]).parse(5)
issues(z.union([z.string(), z.number()]).safeParse(true))
z.discriminatedUnion('t', [z.object({ t: z.literal('a'), x: z.number() }), z.object({ t: z.literal('b') })]).parse({ t: 'a', x: 1 })
issues(z.discriminatedUnion('t', [z.object({ t: z.literal('a') })]).safeParse({ t: 'q' }))
z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })).parse({ a: '1', b: '2' })
z.record(z.string(), z.number()).parse({ a: 1 })
issues(z.record(z.string(), z.number()).safeParse({ a: 'x' }))
z.tuple([z.string(), z.number()]).rest(z.boolean()).parse(['a', 1, true])
[...z.map(z.string(), z.number()).parse(new Map([['a', 1]]))].concat([...z.set(z.string()).parse(new Set(['s']))])
z.string().nullable().optional().parse(null)
z.string().nullish().parse(undefined) === undefined
z.coerce.number().parse('42') + z.coerce.date().parse('2024-01-01').getTime()
z.string().transform((s) => s.length).pipe(z.number().min(2)).safeParse('a').success
z.preprocess((v) => (typeof v === 'string' ? Number(v) : v), z.number()).parse('7')
z.string().refine((s) => s === 'ok', { message: 'must be ok', path: ['deep'] }).safeParse('no').error.issues
issues(z.object({ a: z.string(), b: z.string() }).superRefine((v, ctx) => { if (v.a !== v.b) ctx.addIssue({ code: 'custom', message: 'differ', path: ['b'] }) }).safeParse({ a: '1', b: '2' }))
z.object({ a: z.string() }).check((ctx) => { ctx.issues.push({ code: 'custom', message: 'bad', input: ctx.value }) }).safeParse({ a: 'x' }).error.issues[0].message
['email', 'uuid', 'url', 'datetime', 'ipv4', 'base64', 'cuid2', 'nanoid', 'emoji'].map((f) => [f, ...issues(z.string()[f]().safeParse('?'))])
[z.string().email().safeParse('a@b.co').success, z.string().uuid().safeParse('123e4567-e89b-12d3-a456-426614174000').success, z.string().url().safeParse('https://x.y').success, z.url().safeParse('nope').success, z.email().safeParse('x').success, z.uuid().safeParse('x').success]
[z.iso.date().safeParse('2024-02-30').success, z.iso.datetime({ offset: true }).safeParse('2024-01-01T00:00:00+02:00').success, z.iso.duration().safeParse('P1D').success, z.iso.time().safeParse('25:00').success]
[z.hostname().safeParse('a.example').success, z.hex().safeParse('zz').success, z.hash('sha256').safeParse('ab').success, z.e164().safeParse('+4930123456').success, z.emoji().safeParse('😀').success, z.jwt().safeParse('a.b').success]
issues(z.string().min(3).max(5).regex(/^a/).safeParse('b'))
issues(z.number().int().positive().multipleOf(2).max(9).safeParse(-3.5))
issues(z.array(z.string()).min(2).nonempty().safeParse([]))
issues(z.date().min(new Date(0)).safeParse(new Date(-1)))
String(z.bigint().parse(10n)) + issues(z.bigint().safeParse(1)).join()
z.nativeEnum({ A: 'a', B: 'b' }).parse('b') + z.enum(['x', 'y']).enum.x + z.enum(['x', 'y']).options.join()
z.literal(['a', 1, null]).parse(null)
z.any().parse(1) + z.unknown().parse(2)
issues(z.never().safeParse(1)).concat(issues(z.void().safeParse(1)), issues(z.undefined().safeParse(1)), issues(z.null().safeParse(1)))
z.lazy(() => z.object({ v: z.number() })).parse({ v: 1 })
(() => { const Node = z.object({ v: z.number(), get next() { return Node.optional() } }); return Node.parse({ v: 1, next: { v: 2 } }) })()
z.string().default('d').parse(undefined) + z.string().catch('c').parse(5) + z.string().prefault('p').parse(undefined)
z.string().trim().toLowerCase().startsWith('a').endsWith('z').includes('b').parse(' AbZ ')
z.string().brand('X').readonly().parse('b')
z.codec(z.string(), z.number(), { decode: (s) => Number(s), encode: (n) => String(n) }).encode(5)
z.stringbool().parse('yes')
z.templateLiteral(['v', z.number()]).safeParse('v12').success
z.instanceof(Date).safeParse({}).success
z.custom((v) => v === 1).safeParse(2).success
z.json().parse({ a: [1, null, 'x'] })
z.file !== undefined && z.promise(z.number()) !== undefined
await z.string().refine(async (s) => s === 'x').parseAsync('x')
(await z.string().transform(async (s) => s + '!').safeParseAsync('x')).data
z.function({ input: [z.string()], output: z.number() }).implement((s) => s.length)('abc')
(() => { try { z.string().parse(1) } catch (e) { return [e instanceof Error, e instanceof z.ZodError, e.name, e.message, e.issues.length, e.constructor.name] } })()
z.prettifyError(z.object({ a: z.string(), b: z.array(z.number()) }).safeParse({ b: ['x'] }).error)
z.treeifyError(z.object({ a: z.string(), b: z.array(z.number()) }).safeParse({ b: ['x'] }).error)
z.flattenError(z.object({ a: z.string() }).safeParse({}).error)
z.formatError(z.object({ a: z.object({ b: z.string() }) }).safeParse({ a: {} }).error)
z.object({ a: z.string() }).safeParse({}).error.flatten()
z.toJSONSchema(z.object({ a: z.string().min(2).describe('an a'), b: z.number().int().optional(), c: z.array(z.enum(['x'])), d: z.union([z.string(), z.null()]), e: z.record(z.string(), z.boolean()), f: z.date().optional() }), { unrepresentable: 'any' })
z.toJSONSchema(z.object({ a: z.email(), u: z.uuid(), at: z.iso.datetime(), r: z.string().regex(/^x/) }), { target: 'draft-7' })
z.toJSONSchema(z.object({ a: z.string().default('x'), b: z.literal(1), t: z.tuple([z.string(), z.number()]) }), { io: 'input' })
(() => { const User = z.object({ name: z.string() }).meta({ id: 'User' }); return z.toJSONSchema(z.object({ a: User, b: User })) })()
z.fromJSONSchema({ type: 'object', properties: { a: { type: 'string', minLength: 2 }, b: { enum: ['x', 'y'] }, c: { type: 'array', items: { type: 'integer' } } }, required: ['a'] }).safeParse({ a: 'ok', b: 'x', c: [1] })
issues(z.fromJSONSchema({ type: 'object', properties: { a: { type: 'string', format: 'email' } }, required: ['a'] }).safeParse({ a: 'x' }))
z.string().describe('text').description + JSON.stringify(z.string().meta({ title: 'T' }).meta())
(() => { const r = z.registry(); const s = z.string(); r.add(s, { k: 1 }); return [r.has(s), r.get(s), z.globalRegistry.has(s)] })()
z.describe !== undefined && typeof z.describe('x')
z.object({ a: z.string() }).keyof().options
[z.string()._zod.def.type, z.object({})._zod.def.type, z.string() instanceof z.ZodString, z.string() instanceof z.ZodType, z.number() instanceof z.ZodString, z.email() instanceof z.ZodString, z.string().constructor.name]
z.object({ a: z.string() }).safeParse('x').error.issues[0]
z.config().localeError !== undefined && z.locales.en().localeError({ code: 'invalid_type', expected: 'string', input: 1 })
z.NEVER !== undefined && z.TimePrecision
z.clone(z.string()).safeParse('x').success
z.safeParse(z.string(), 'x').success && z.parse(z.number(), 3)
z.int32().safeParse(2 ** 40).success
z.nan().safeParse(NaN).success
z.symbol().safeParse(1).success
z.partialRecord(z.enum(['a', 'b']), z.number()).parse({ a: 1 })
z.xor([z.object({ a: z.string() }), z.object({ b: z.string() })]).safeParse({ a: '1' }).success
z.looseObject({ a: z.string() }).parse({ a: 'x', b: 1 })
z.string().overwrite((s) => s.toUpperCase()).parse('x')
z.string({ error: 'custom text' }).safeParse(1).error.issues[0].message
z.object({ a: z.string({ error: (i) => `got ${typeof i.input}` }) }).safeParse({ a: 5 }).error.issues[0].message
z.array(z.number()).parse([1, 2]).map((x) => x * 2)
z.object({ a: z.string().optional() }).parse({ a: undefined })
