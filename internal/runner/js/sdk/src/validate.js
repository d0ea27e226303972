// nango.zodValidateInput: check an action's input against its schema, and say in the log what is wrong with it.

import { ActionError } from './errors.js';

/** @param {{log: (...args: any[]) => Promise<void>}} deps */
export function createValidate({ log }) {
    return async function zodValidateInput({ zodSchema, input }) {
        const parsed = zodSchema.safeParse(input);
        if (parsed.success) return parsed;
        for (const issue of parsed.error.issues) {
            const where = issue.path.length > 0 ? issue.path.join('.') : 'input';
            await log(`Invalid input at ${where}: ${issue.message}`, { level: 'error' });
        }
        throw new ActionError({ message: 'Invalid input provided' });
    };
}
