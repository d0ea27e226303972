import { createSync } from 'nango';
import { z } from 'zod';

const Row = z.object({ id: z.string(), name: z.string(), email: z.string(), tags: z.array(z.string()), profile: z.object({ bio: z.string(), score: z.number() }) });

/** What most syncs do: page by page, checked and mapped with zod. */
export default createSync({
    description: 'A benchmark',
    frequency: 'every day',
    autoStart: false,
    models: { Mapped: z.object({ id: z.string(), name: z.string(), email: z.string(), tags: z.array(z.string()), bio: z.string(), score: z.number() }) },
    exec: async (nango) => {
        for await (const page of nango.paginate<unknown>({
            endpoint: '/rows',
            paginate: { type: 'cursor', cursor_name_in_request: 'cursor', cursor_path_in_response: 'next', response_path: 'rows' }
        })) {
            const rows = z.array(Row).parse(page);
            await nango.batchSave(
                rows.map((row) => ({ id: row.id, name: row.name, email: row.email, tags: row.tags, bio: row.profile.bio, score: row.profile.score })),
                'Mapped'
            );
        }
    }
});
